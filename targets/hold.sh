# Run a script that changes something, keep it while beats come, and let it undo what it did in every other case. $1 the script, the rest
# its arguments: it prints one line, reads its stdin to the end, undoes what it did, and ends.
#
# A beat is a line on stdin. Stdin ends when the host releases, or when the connection or the host dies; where the network only falls
# silent it stays open, so 60 s without a beat count as the end too. They are counted by sleeping: no clock that can be set is asked.

script=$1
shift
trap "" HUP INT PIPE TERM # a lost connection must not end this before the script has undone what it did
exec 3<&0 4>&2 2>/dev/null # whatever is left for some seconds must not keep the connection's streams open
{
  exec 4>&-
  { while sleep 15; do echo tick || exit; done; } </dev/null 3<&- &
  while read -r beat; do echo beat; done <&3
  echo end
} | {
  exec 3<&- 4>&-
  missed=0
  while [ "$missed" -lt 4 ] && read -r what; do
    case $what in beat) missed=0 ;; tick) missed=$((missed + 1)) ;; end) break ;; esac
  done
} | {
  exec 3<&-
  sh -c "$script" sh "$@" 2>&4 4>&-
  printf '\nedgekit-ended %s\n' "$?"
  # What still waits for beats ends with it: in a session of its own this group has nobody else in it.
  [ -z "$EDGEKIT_SESSION" ] || kill -s KILL 0
}
