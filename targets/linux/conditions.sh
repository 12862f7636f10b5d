# Nothing in, what this device is and how it is out, in its own words, to be read on the host (edgekit/conditions.py).
#
#     sh -s -- PYTHON all|state < conditions.sh
#
# Prints `key<TAB>value`; further lines of a long value begin with a TAB. What the device does not tell is left out, and the last line is
# `end<TAB>ok`. Nothing is changed here, and nothing asks for rights. For any POSIX shell. A process takes 20 ms to start on a small board and
# a hundred times that under emulation, so files are read by the shell itself.
tab='	'
if [ -n "${KSH_VERSION-}" ]; then
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

identity() {
    fact hostname /proc/sys/kernel/hostname
    fact model /proc/device-tree/model
    word /sys/class/dmi/id/sys_vendor
    vendor=$word
    word /sys/class/dmi/id/product_name
    product="$vendor $word"
    product=${product# }
    tell product "${product% }"
    machine=$(uname -m)
    processor
    tell processor "$processor"
    tell machine "$machine"
    # The fifth byte of an ELF file is its class, and this shell is a program like the others here.
    word /proc/self/exe
    case $word in
    ?ELF"$(printf '\001')"*) tell bits 32 ;;
    ?ELF"$(printf '\002')"*) tell bits 64 ;;
    esac
    fact present_cores /sys/devices/system/cpu/present
    memory MemTotal memory_kb
    fact kernel /proc/sys/kernel/osrelease
    [ ! -r /etc/os-release ] || while IFS='=' read -r name value; do
        [ "$name" != PRETTY_NAME ] || { value=${value#[\"\']}; tell os "${value%[\"\']}"; break; }
    done < /etc/os-release
    libc
    [ -z "$1" ] || ! command -v "$1" > /dev/null || tell python "$("$1" -I -S -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' < /dev/null)"
    emulation
    tell emulation "$emulation"
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

libc() {
    version=$(getconf GNU_LIBC_VERSION < /dev/null)
    [ -n "$version" ] || for loader in /lib/ld-linux*.so.* /lib64/ld-linux*.so.* /lib/*/ld-linux*.so.*; do
        [ ! -x "$loader" ] || { version=$("$loader" --version < /dev/null); version="glibc ${version##*release version }"; version=${version%%.
*}; break; }
    done
    case $version in
    glibc\ [0-9]*) tell libc "$version" ;;
    *) for loader in /lib/ld-musl-*.so.1; do [ ! -e "$loader" ] || { tell libc musl; break; }; done ;;
    esac
}

# How the processor is emulated, as $emulation; empty where nothing says that it is.
#
# qemu-user hides itself in /proc/self and in uname, but not in /proc/thread-self (its own maps) nor in the kernel's own name of
# the machine. A whole machine under qemu tells its processor's maker on x86 ("QEMU TCG CPU"). On Arm it does not: there
# a `virt` board counts as emulated unless the clock that KVM gives to its guests is there.
emulation() {
    emulation=
    [ ! -r /proc/thread-self/maps ] || while read -r _ _ _ _ _ file; do
        case $file in
        */qemu-*) emulation="qemu-user (${file##*/})" && return ;;
        */FEXInterpreter | */box64 | */box86 | */rosetta) emulation=${file##*/} && return ;;
        esac
    done < /proc/thread-self/maps
    word /proc/sys/kernel/arch
    family "$word" && kernel=$family
    family "$machine"
    if [ -n "$word" ] && [ "$kernel" != "$family" ]; then
        emulation="a $machine userland on a $word kernel" && return
    fi
    case $processor in *TCG*) emulation="qemu ($processor)" && return ;; esac
    word /proc/device-tree/compatible
    case "$word $family $vendor" in *dummy-virt* | *" arm QEMU") ;; *) return 0 ;; esac
    for clock in /sys/class/ptp/*/clock_name; do
        word "$clock"
        case $word in *KVM*) return 0 ;; esac
    done
    emulation="qemu's virt board, with no sign of KVM"
}

# x86_64 and i686 run on one kind of processor, aarch64 and armv7l on another.
family() {
    case $1 in
    x86_64 | amd64 | i[3-6]86) family=x86 ;;
    arm* | aarch64*) family=arm ;;
    *) family=$1 ;;
    esac
}

# A field of /proc/meminfo, in kB.
memory() {
    [ ! -r /proc/meminfo ] || while read -r name value _; do
        [ "$name" != "$1:" ] || { tell "$2" "$value"; break; }
    done < /proc/meminfo
}

state() {
    for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
        for name in scaling_governor scaling_cur_freq scaling_max_freq cpuinfo_max_freq; do
            fact "${cpu##*/}/$name" "$cpu/cpufreq/$name"
        done
        fact "${cpu##*/}/cpu_capacity" "$cpu/cpu_capacity"
        fact "${cpu##*/}/core_throttle_count" "$cpu/thermal_throttle/core_throttle_count"
    done
    for zone in /sys/class/thermal/thermal_zone*; do
        word "$zone/type"
        fact "${zone##*/}/$word" "$zone/temp"
        for trip in "$zone"/trip_point_*_type; do
            word "$trip"
            point=${trip##*/trip_point_}
            fact "trip_point/${zone##*thermal_zone}/${point%_type}/$word" "${trip%_type}_temp"
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
    for battery in /sys/class/power_supply/*; do
        word "$battery/type"
        [ "$word" = Battery ] || continue
        for name in status capacity; do
            fact "battery/${battery##*/}/$name" "$battery/$name"
        done
    done
    raspberry
    fact loadavg /proc/loadavg
    memory MemAvailable available_kb
    memory SwapTotal swap_total_kb
    memory SwapFree swap_free_kb
    limits
}

# What the firmware of a Raspberry Pi tells. Only those from the fifth on measure their supply.
raspberry() {
    tool=vcgencmd
    command -v "$tool" > /dev/null || tool=/opt/vc/bin/vcgencmd
    command -v "$tool" > /dev/null || return 0
    command_frame 'vcgencmd get_throttled' "$tool" get_throttled
    command_frame 'vcgencmd measure_temp' "$tool" measure_temp
    word /proc/device-tree/model
    case $word in
    *'Pi 5'* | *'Compute Module 5'*) command_frame 'vcgencmd pmic_read_adc' "$tool" pmic_read_adc ;;
    esac
}

# What the control group (version 2) or one above it allows: the nearest limit of each kind.
limits() {
    [ -r /proc/self/cgroup ] || return 0
    read -r group < /proc/self/cgroup
    case $group in 0::/?*) group=/sys/fs/cgroup${group#0::} ;; *) return 0 ;; esac
    for name in memory.max memory.high cpu.max; do
        folder=$group
        while [ "$folder" != /sys/fs/cgroup ] && [ -n "$folder" ]; do
            word "$folder/$name"
            case $word in '' | max*) ;; *) tell "cgroup/$name" "$word" && break ;; esac
            folder=${folder%/*}
        done
    done
}

# Room and rights in edgekit's folder, or where it would be made.
root() {
    root=${EDGEKIT_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/}/.cache}/edgekit}
    while [ -n "$root" ] && [ ! -d "$root" ]; do
        case $root in */*) root=${root%/*} ;; *) root=. ;; esac
    done
    tell root "${root:-/}"
    [ ! -w "${root:-/}" ] || tell root_writable yes
    command_frame df df -Pk "${root:-/}"
}

main() {
    if [ "$2" = all ]; then
        identity "$1"
        root
        [ ! -r /proc/self/status ] || while read -r name value; do
            [ "$name" != Cpus_allowed_list: ] || { tell cores "$value"; break; }
        done < /proc/self/status
        tell time_s "$(date +%s)"
        fact uptime_s /proc/uptime
        fact boot_id /proc/sys/kernel/random/boot_id
    fi
    state
    line "end${tab}ok"
}

main "${1-}" "${2-all}" 2> /dev/null
