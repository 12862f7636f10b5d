# What the scripts that tell a device's conditions share; they are sent with this file before them. For any POSIX shell, mksh, ash and dash among them.
#
# A process takes 20 ms to start on a small board and a hundred times that under emulation, so files are read by the shell itself.
LC_ALL=C
export LC_ALL
tab='	'
if [ -n "${KSH_VERSION-}" ]; then # Android's shell has no printf of its own
    line() { print -r -- "$1"; }
else
    line() { printf '%s\n' "$1"; }
fi

tell() { [ -z "$2" ] || line "$1$tab$2"; }

# The first line of a file as $word, empty where it cannot be read. A file that does not end with a newline fails `read`, and is read.
word() {
    word=
    [ ! -r "$1" ] || read -r word < "$1" || :
}

fact() {
    word "$2"
    tell "$1" "$word"
}

# What a command prints, as one frame. It must not read this script, which is on stdin.
command_frame() {
    key=$1
    shift
    answer=$("$@" < /dev/null)
    [ -n "$answer" ] || return 0
    while :; do
        case $answer in
        *"
"*) ;;
        *) break ;;
        esac
        key="$key$tab${answer%%"
"*}
"
        answer=${answer#*"
"}
    done
    line "$key$tab$answer"
}

# The processor's name as the kernel has it, or, on Arm, its maker's and its parts' numbers.
processor() {
    processor= maker= parts=
    [ -r /proc/cpuinfo ] || return 0
    while IFS=':' read -r name value; do
        case $name in
        'model name'*) processor=${value# } && return ;;
        'CPU implementer'*) maker=${value# } ;;
        'CPU part'*) case $parts in *"$value"*) ;; *) parts=$parts$value ;; esac ;;
        esac
    done < /proc/cpuinfo
    [ -z "$parts" ] || processor="implementer $maker part$parts"
}

# Fields of /proc/meminfo, in kB: each as NAME KEY.
memory() {
    [ ! -r /proc/meminfo ] || while read -r name value _; do
        case " $* " in *" $name"*) ;; *) continue ;; esac
        for pair; do
            [ "${pair%:*}:" != "$name" ] || tell "${pair#*:}" "$value"
        done
    done < /proc/meminfo
}

python_version() {
    [ -z "$1" ] || ! command -v "$1" > /dev/null || tell python "$("$1" -I -S -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' < /dev/null)"
}

# Who asks, what it may use, and what time it is.
session() {
    [ ! -r /proc/self/status ] || while read -r name value; do
        [ "$name" != Cpus_allowed_list: ] || { tell allowed_cores "$value"; break; }
    done < /proc/self/status
    tell uid "$(id -u)"
    tell time_s "$(date +%s)"
    fact uptime_s /proc/uptime
    fact boot_id /proc/sys/kernel/random/boot_id
}

# Room and rights in a folder, or in the nearest one above it that there is.
room() {
    folder=$1
    while [ -n "$folder" ] && [ ! -d "$folder" ]; do
        case $folder in */*) folder=${folder%/*} ;; *) folder=. ;; esac
    done
    tell root "${folder:-/}"
    [ ! -w "${folder:-/}" ] || tell root_writable yes
    command_frame df df -Pk "${folder:-/}"
}

cpus() {
    for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
        for name in scaling_driver scaling_governor scaling_cur_freq scaling_max_freq cpuinfo_max_freq; do
            fact "${cpu##*/}/$name" "$cpu/cpufreq/$name"
        done
        fact "${cpu##*/}/cpu_capacity" "$cpu/cpu_capacity"
        fact "${cpu##*/}/core_throttle_count" "$cpu/thermal_throttle/core_throttle_count"
    done
}

zones() {
    for zone in /sys/class/thermal/thermal_zone*; do
        word "$zone/type"
        fact "${zone##*/}/$word" "$zone/temp"
        for trip in "$zone"/trip_point_*_type; do
            word "$trip"
            point=${trip##*/trip_point_}
            [ "$word" != passive ] || fact "trip_point/${zone##*thermal_zone}/${point%_type}/passive" "${trip%_type}_temp"
        done
    done
    for device in /sys/class/thermal/cooling_device*; do
        word "$device/max_state"
        most=$word
        word "$device/cur_state"
        now=$word
        word "$device/type"
        [ -z "$now" ] || tell "${device##*/}/$word" "$now of $most"
    done
}

# All that a platform's `identity`, `session` and `state` tell; $1 is a Python to ask for its version, $2 `all` or `state`, $3 edgekit's folder there.
answer() {
    if [ "$2" = all ]; then
        identity
        python_version "$1"
        room "$3"
        session
    fi
    state
    line "end${tab}ok"
}
