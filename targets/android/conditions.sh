# Nothing in, what this device is and how it is out, in its own words, to be read on the host (edgekit/conditions/told.py).
#
#     cat common/conditions.sh android/conditions.sh | sh -s -- PYTHON all|state
#
# Prints `key<TAB>value`; further lines of a long value begin with a TAB. What the device does not tell is left out, and the last line is
# `end<TAB>ok`. Nothing is changed here, and the rights of `adb shell` are enough.

identity() {
    line "getprop$tab"
    getprop < /dev/null | sed -n "s/^\[ro\./$tab&/p"
    machine=$(uname -m)
    processor
    tell processor "$processor"
    tell machine "$machine"
    fact present_cores /sys/devices/system/cpu/present
    memory MemTotal:memory_kb
    fact kernel /proc/sys/kernel/osrelease
    tell libc bionic
    # qemu-user hides itself in /proc/self, but not in /proc/thread-self; whole emulators say so in their properties.
    [ ! -r /proc/thread-self/maps ] || while read -r _ _ _ _ _ file; do
        case $file in */qemu-*) tell emulation "qemu-user (${file##*/})" && break ;; esac
    done < /proc/thread-self/maps
    settings_frames
}

# What only changes when somebody changes it.
settings_frames() {
    settings list global < /dev/null | sed -n -e "s/^airplane_mode_on=/airplane_mode$tab/p" -e "s/^low_power=/battery_saver$tab/p"
}

state() {
    cpus
    zones
    command_frame 'dumpsys thermalservice' dumpsys thermalservice
    command_frame 'dumpsys battery' dumpsys battery
    line "dumpsys power$tab"
    dumpsys power < /dev/null | sed -n "s/^  *[A-Za-z()]*=/$tab&/p"
    fact loadavg /proc/loadavg
    fact stat /proc/stat
    memory MemAvailable:available_kb SwapTotal:swap_total_kb SwapFree:swap_free_kb
}

answer "${1-}" "${2-all}" /data/local/tmp/edgekit 2> /dev/null
