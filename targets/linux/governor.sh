# The frequency governor $1 on every processor below $2, until stdin ends; then each has its former one again. Says `ok` when it is set;
# ends with 3 where it is not offered.

wanted=$1
files=$2/cpu[0-9]*/cpufreq/scaling_governor

restore() {
    while [ "$#" -gt 1 ]; do
        echo "$2" > "$1"
        shift 2
    done
}

# A name that a processor does not offer is said before anything is tried; where none is told, the kernel decides.
for file in $files; do
    offered=
    [ ! -r "${file%_governor}_available_governors" ] || read -r offered < "${file%_governor}_available_governors"
    case " $offered " in "  " | *" $wanted "*) continue ;; esac
    echo "it offers $offered" >&2
    exit 3
done

# From here on the positional parameters are what was changed: file, former governor, file, …
set --
for file in $files; do
    [ -r "$file" ] && read -r former < "$file" || continue
    [ "$former" != "$wanted" ] || continue
    set -- "$@" "$file" "$former"
    if ! { echo "$wanted" > "$file"; } 2> /dev/null; then
        if [ ! -w "$file" ]; then
            why="$file cannot be written"
        else
            why="the kernel refuses it"
        fi
        restore "$@" 2> /dev/null
        echo "$why" >&2
        exit 1
    fi
done
echo ok
while read -r _; do :; done
restore "$@"
