# Nothing in, what this device is and how it is out, in its own words, to be read on the host (edgekit/conditions/told.py).
#
#     cat common/conditions.sh linux/conditions.sh | sh -s -- PYTHON all|state
#
# Prints `key<TAB>value`; further lines of a long value begin with a TAB. What the device does not tell is left out, and the last line is
# `end<TAB>ok`. Nothing is changed here, and nothing asks for rights.

identity() {
    fact hostname /proc/sys/kernel/hostname
    fact model /sys/firmware/devicetree/base/model
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
    memory MemTotal:memory_kb
    fact kernel /proc/sys/kernel/osrelease
    [ ! -r /etc/os-release ] || while IFS='=' read -r name value; do
        [ "$name" != PRETTY_NAME ] || { value=${value#[\"\']}; tell os "${value%[\"\']}"; break; }
    done < /etc/os-release
    libc
    emulation
    tell emulation "$emulation"
}

libc() {
    version=$(getconf GNU_LIBC_VERSION < /dev/null)
    [ -n "$version" ] || for loader in /lib/ld-linux*.so.* /lib64/ld-linux*.so.* /lib/*/ld-linux*.so.*; do
        [ -x "$loader" ] || continue
        version=$("$loader" --version < /dev/null)
        version="glibc ${version##*release version }"
        version=${version%%.
*}
        break
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
    word /sys/firmware/devicetree/base/compatible
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

state() {
    cpus
    zones
    for battery in /sys/class/power_supply/*; do
        word "$battery/type"
        [ "$word" = Battery ] || continue
        for name in status capacity; do
            fact "battery/${battery##*/}/$name" "$battery/$name"
        done
    done
    raspberry
    fact loadavg /proc/loadavg
    fact stat /proc/stat
    memory MemAvailable:available_kb SwapTotal:swap_total_kb SwapFree:swap_free_kb
    limits
}

# What the firmware of a Raspberry Pi tells. Only those from the fifth on measure their supply.
raspberry() {
    tool=vcgencmd
    command -v "$tool" > /dev/null || tool=/opt/vc/bin/vcgencmd
    command -v "$tool" > /dev/null || return 0
    command_frame 'vcgencmd get_throttled' "$tool" get_throttled
    command_frame 'vcgencmd measure_temp' "$tool" measure_temp
    word /sys/firmware/devicetree/base/model
    case $word in
    *'Pi 5'* | *'Compute Module 5'*) command_frame 'vcgencmd pmic_read_adc' "$tool" pmic_read_adc ;;
    esac
}

# What the control group (version 2) or one above it allows: the nearest limit of each kind.
limits() {
    word /proc/self/cgroup
    case $word in 0::/?*) group=/sys/fs/cgroup${word#0::} ;; *) return 0 ;; esac
    for name in memory.max memory.high cpu.max; do
        folder=$group
        while [ "$folder" != /sys/fs/cgroup ] && [ -n "$folder" ]; do
            word "$folder/$name"
            case $word in '' | max*) ;; *) tell "cgroup/$name" "$word" && break ;; esac
            folder=${folder%/*}
        done
    done
}

answer "${1-}" "${2-all}" "${EDGEKIT_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/}/.cache}/edgekit}" 2> /dev/null
