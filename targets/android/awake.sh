# The screen on, also while nobody touches it, until stdin ends; then everything as it was. $1 is where the former settings are noted meanwhile
# (settings outlive a restart of the device, and this script does not: the next one finds the note), $2 is `off` where the screen was off.
# Says `ok` when it is on.

note=$1
screen=$2

value() { settings get "$1" "$2" < /dev/null; }
put() {
    case $3 in
    null) settings delete "$1" "$2" < /dev/null > /dev/null ;;
    *) settings put "$1" "$2" "$3" < /dev/null ;;
    esac
}
# Whatever else `settings` may answer (an error of its own, another language) is no value.
known() { case $1 in null) ;; '' | *[!0-9]*) return 1 ;; esac }

plugged= timeout=
[ ! -r "$note" ] || read -r plugged timeout < "$note"
known "$plugged" && known "$timeout" || {
    plugged=$(value global stay_on_while_plugged_in)
    timeout=$(value system screen_off_timeout)
    known "$plugged" && known "$timeout" || {
        echo "its settings cannot be read" >&2
        exit 1
    }
    echo "$plugged $timeout" > "$note" || exit 1
}
# All kinds of chargers; and for a device on its battery, half an hour after the last touch: longer than any pass.
put global stay_on_while_plugged_in 15 && put system screen_off_timeout 1800000 || {
    put global stay_on_while_plugged_in "$plugged"
    rm -f "$note"
    echo "its settings cannot be changed" >&2
    exit 1
}
input keyevent KEYCODE_WAKEUP < /dev/null
echo ok
while read -r _; do :; done
put global stay_on_while_plugged_in "$plugged" && put system screen_off_timeout "$timeout" && rm -f "$note"
[ "$screen" != off ] || input keyevent KEYCODE_SLEEP < /dev/null
