# Hold a device's folder for one edgekit, under hold.sh. $1 the folder, $2 the holder's words, $3 a random name. Prints `taken`,
# `held<TAB>seconds or -<TAB>words` or `error<TAB>sentence`; holds until stdin ends.
#
# <folder>/lock/info says whose it is: boot id, process, uptime and name; when the process was born; the holder's words. Another boot, or
# no such process born then, and the lock is nobody's. No clock that can be set is asked.

LC_ALL=C
export LC_ALL
umask 077
root=$1 words=$2 token=$3
lock=$root/lock aside=$root/.lock.$token

boot_id() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || sysctl -n kern.bootsessionuuid 2>/dev/null || echo unknown; }

uptime_s() {
  up=
  read -r up rest 2>/dev/null </proc/uptime
  printf '%s\n' "${up%%.*}"
}

# When a process was born: clock ticks since boot (proc(5), stat, field 22), or what ps says; nothing if it is dead.
born() {
  if stat=$(cat "/proc/$1/stat" 2>/dev/null); then
    set -- ${stat##*) }
    [ "$1" = Z ] || printf '%s\n' "${20}"
  else
    ps -o lstart= -p "$1" 2>/dev/null
  fi
}

read_info() {
  boot= pid= since= name= birth= who=
  { read -r boot pid since name && read -r birth && read -r who; } 2>/dev/null <"$lock/info"
}

# Whether the lock has a living holder.
lives() {
  read_info && [ "$boot" = "$(boot_id)" ] && [ "$(born "$pid")" = "$birth" ] && { [ -n "$birth" ] || kill -s 0 "$pid" 2>/dev/null; }
}

held() {
  now=$(uptime_s)
  case $since,$now in ,* | *, | *[!0-9,]*) age=- ;; *) age=$((now - since)) ;; esac
  rm -rf "$aside"
  printf 'held\t%s\t%s\n' "$age" "$who"
  exit
}

fail() {
  rm -rf "$aside"
  set -f # on one line
  set -- $1
  printf 'error\t%s\n' "$*"
  exit
}

# The lock appears with its content in one rename, and changes hands in place: whoever makes `taking` in a dead holder's lock may do it.
# One that lets go removes an empty folder, maybe just now: hence the second try.
complaint=$(mkdir -p "$aside" 2>&1) || complaint=$(mkdir -p "$aside" 2>&1) || fail "$complaint"
# By cat, which says what is wrong: a shell's own printf may know of an I/O error only.
complaint=$({ printf '%s %s %s %s\n%s\n%s\n' "$(boot_id)" "$$" "$(uptime_s)" "$token" "$(born "$$")" "$words" | cat >"$aside/info"; } 2>&1) || fail "$complaint"
tries=0
while :; do
  if [ ! -e "$lock" ]; then
    complaint=$(mv "$aside" "$lock" 2>&1) && [ ! -e "$lock/.lock.$token" ] && break
    # Another was faster: then mv has failed, or put the folder into the other's.
    [ ! -e "$lock/.lock.$token" ] || mv "$lock/.lock.$token" "$root"
    [ -e "$lock" ] || [ "$tries" -lt 5 ] || fail "$complaint"
  elif lives; then
    held
  elif mkdir "$lock/taking" 2>/dev/null; then
    if lives; then
      rmdir "$lock/taking"
      held
    fi
    # By way of `taking`, which is in no other's lock, should this one have gone meanwhile.
    if mv "$aside/info" "$lock/taking/info" 2>/dev/null && mv -f "$lock/taking/info" "$lock/info" 2>/dev/null; then
      rmdir "$lock/taking" "$aside"
      break
    fi
    fail "the lock in $root changed hands at this moment: repeat the command"
  else
    sleep 1
    [ "$tries" -lt 2 ] || rm -rf "$lock/taking" # its maker died half-way
  fi
  tries=$((tries + 1))
  [ "$tries" -lt 30 ] || fail "$lock can neither be taken nor removed: remove it by hand"
done
echo taken
while read -r beat; do :; done
if read_info && [ "$name" = "$token" ]; then mv "$lock" "$aside.gone" && rm -rf "$aside.gone"; fi
rmdir "$root" 2>/dev/null # only if nothing else was ever there
