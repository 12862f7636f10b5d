# Nothing in, what this Mac is and how it is out, in its own words, to be read on the host (edgekit/conditions/told.py).
#
#     cat common/conditions.sh macos/conditions.sh | sh -s -- PYTHON all|state
#
# Frames as in linux/conditions.sh. Written from the manual pages of sysctl, sw_vers, vm_stat and pmset; not yet run on a Mac.

identity() {
    tell hostname "$(uname -n)"
    tell machine "$(uname -m)"
    tell bits "$(getconf LONG_BIT < /dev/null)"
    tell kernel "$(uname -r)"
    version=$(sw_vers -productVersion < /dev/null)
    if [ -n "$version" ]; then
        tell os "macOS $version ($(sw_vers -buildVersion < /dev/null))"
        tell libc libSystem
    fi
    sysctl hw.model hw.ncpu hw.memsize machdep.cpu.brand_string sysctl.proc_translated kern.boottime kern.bootsessionuuid < /dev/null |
        while read -r name value; do
            case $name in
            hw.model:) tell model "$value" ;;
            hw.ncpu:) tell cores "$value" ;;
            hw.memsize:) tell memory_kb "$((value / 1024))" ;;
            machdep.cpu.brand_string:) tell processor "$value" ;;
            sysctl.proc_translated:) [ "$value" != 1 ] || tell emulation Rosetta ;;
            kern.boottime:)
                booted=${value#*sec = }
                tell uptime_s "$(($(date +%s) - ${booted%%,*}))"
                ;;
            kern.bootsessionuuid:) tell boot_id "$(line "$value" | tr 'A-F' 'a-f')" ;;
            esac
        done
}

state() {
    pmset -g therm < /dev/null | while IFS=' 	=' read -r name value _; do
        case $name in CPU_*_Limit | CPU_Available_CPUs) tell "pmset/$name" "$value" ;; esac
    done
    # ` -InternalBattery-0 (id=4653155)<TAB>84%; discharging; 5:12 remaining present: true`
    pmset -g batt < /dev/null | while read -r name _ level status; do
        case $name in -?*) ;; *) continue ;; esac
        tell "battery/${name#-}/capacity" "${level%%%*}"
        tell "battery/${name#-}/status" "${status%%;*}"
    done
    load=$(sysctl -n vm.loadavg < /dev/null) # { 1.80 1.95 2.00 }
    load=${load#\{ }
    tell loadavg "${load% \}}"
    available
}

# What a new process can have without anything being written to the disk: free pages, those read ahead, and those that were not used of late.
available() {
    vm_stat < /dev/null | {
        size=0 pages=0
        while read -r words; do
            value=${words##* }
            case $words in
            *'page size of '*) size=${words##*page size of } && size=${size%% *} ;;
            'Pages free:'* | 'Pages inactive:'* | 'Pages speculative:'*) pages=$((pages + ${value%.})) ;;
            esac
        done
        [ "$pages" = 0 ] || tell available_kb "$((pages * (size / 1024)))"
    }
}

answer "${1-}" "${2-all}" "${EDGEKIT_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/}/.cache}/edgekit}" 2> /dev/null
