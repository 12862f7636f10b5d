# The device's half of edgekit/deliver.py, in POSIX sh: calls of the functions below, one a line, are the request; frames `word<TAB>value`
# are the answer, and the last is `end<TAB>ok`. The host sets `root` and `token` (a random name), and wraps the calls in a function, so
# that a request that was cut off is a syntax error and does nothing.
#
# Below the root: blobs/<sha256>/<name> files as they were sent, trees/<sha256>/ unpacked archives, trees/.<sha256>.name what they were called,
# jobs/<token>/ what one job reads and writes. Whatever is made is made aside (.*.part, .*.aside) and renamed.

LC_ALL=C
export LC_ALL
umask 077

say() { printf '%s\t%s\n' "$1" "$2"; }

finish() {
  say end ok
  exit 0
}

refuse() {
  case $1 in *"No space left"* | *"uota exceeded"*) set -- "no space" ;; esac
  set -f # on one line
  set -- $1
  say error "$*"
  finish
}

# Run a command; what it complains of ends the request.
try() {
  complaint=$("$@" 2>&1) || refuse "${complaint:-$1 failed}"
}

if command -v sha256sum >/dev/null 2>&1; then
  sha256() { sha256sum; }
elif command -v shasum >/dev/null 2>&1; then
  sha256() { shasum -a 256; }
else
  refuse "neither sha256sum nor shasum is found on the device: install coreutils there"
fi

# Print a file's SHA-256; what is not a plain file has none.
sha256_of() {
  [ -f "$1" ] && [ ! -L "$1" ] && sum=$(sha256 <"$1" 2>/dev/null) && printf '%s\n' "${sum%% *}"
}

# Print the kB that may still be written to a folder: in the last line, the number before the one with a percent sign.
free_kb() {
  line=$(df -Pk "$1" 2>/dev/null) || return 1
  line=${line##*
}
  line=${line%%\%*}
  line=${line% *}
  line=${line%"${line##*[! ]}"}
  printf '%s\n' "${line##* }"
}

# Find or make the root, private to the user, and clear what was left there long ago.
open_root() {
  if [ -n "$(getprop ro.build.version.sdk 2>/dev/null)" ] && [ -w /data/local/tmp ]; then
    root=/data/local/tmp/edgekit
  else
    case ${EDGEKIT_CACHE_DIR-} in /*) root=$EDGEKIT_CACHE_DIR ;; *)
      case ${XDG_CACHE_HOME-} in /*) root=$XDG_CACHE_HOME/edgekit ;; *)
        case ${HOME-} in /*) root=$HOME/.cache/edgekit ;; *) refuse "the user has no home folder there: set EDGEKIT_CACHE_DIR" ;; esac ;;
      esac ;;
    esac
  fi
  try mkdir -p "$root/blobs" "$root/trees" "$root/jobs"
  try chmod 700 "$root"
  # Whole days: +6 is seven days or more, +0 one or more.
  find "$root"/jobs/* -prune -mtime +6 -exec rm -rf {} \; 2>/dev/null
  find "$root"/blobs/*/.*.part "$root"/trees/.*.aside "$root"/.lock.* -prune -mtime +0 -exec rm -rf {} \; 2>/dev/null
  say path "$root"
}

# $1 SHA-256, $2 name, $3 mode: is it here with that content? What is not is left for a push to replace; the folder is made.
blob() {
  folder=$root/blobs/$1
  [ -d "$folder" ] || try mkdir -p "$folder"
  if [ "$(sha256_of "$folder/$2")" != "$1" ]; then
    # A push renames a file over a file, but would write into a folder or through a link to one.
    if [ -d "$folder/$2" ] || [ -L "$folder/$2" ]; then try rm -rf "$folder/$2"; fi
    if ! twin "$1" "$2"; then
      say present 0
      return
    fi
  fi
  try chmod "$3" "$folder/$2"
  say present 1
}

# The same content under another name need not be sent. A copy, not a link: the two may differ in mode, and damage to one spares the other.
twin() {
  for other in "$root/blobs/$1"/*; do
    [ "$(sha256_of "$other")" = "$1" ] || continue
    try cp "$other" "$root/blobs/$1/.$token.part"
    try mv -f "$root/blobs/$1/.$token.part" "$root/blobs/$1/$2"
    return 0
  done
  return 1
}

# $1 SHA-256 of an archive: where it is unpacked, if it is.
tree() {
  if [ -d "$root/trees/$1" ]; then say path "$root/trees/$1"; else say absent "$1"; fi
}

# $1 SHA-256, $2 name, $3 the letters after tar's dash, $4 its files, $5 the kB they take, $6 the longest name among them: unpack a sent
# archive, which then goes.
unpack() {
  final=$root/trees/$1 archive=$root/blobs/$1/$2 aside=$root/trees/.$token.aside
  if [ ! -d "$final" ]; then
    [ -d "$root/blobs/$1" ] || try mkdir -p "$root/blobs/$1"
    if [ "$(sha256_of "$archive")" != "$1" ]; then
      [ ! -d "$archive" ] || try rm -rf "$archive"
      tree "$1" # another delivery may just have finished the same
      return
    fi
    has_kb=$(free_kb "$root")
    case $has_kb in "" | *[!0-9]*) has_kb=$5 ;; esac # it cannot tell
    if [ "$5" -gt "$has_kb" ]; then # in kB: a 32-bit shell does not count to 4 GB
      say has_kb "$has_kb"
      refuse "No space left"
    fi
    try mkdir "$aside"
    complaint=$(tar "-$3" "$archive" -C "$aside" 2>&1)
    code=$?
    found=$(($(find "$aside" -type f | wc -l)))
    [ -e "$aside/$6" ] || found="not all"
    if [ "$code" -ne 0 ] || [ "$found" != "$4" ]; then
      rm -rf "$aside"
      [ -d "$final" ] || refuse "the archive $2 cannot be unpacked (${complaint:-$found of $4 files came out})"
    else
      try chmod -R u+rwX,go-rwx,ug-s "$aside"
      sync # else a power cut could leave a folder with its final name and empty files
      # Where another delivery was faster, mv puts the folder into that one's.
      [ -d "$final" ] || try mv "$aside" "$final"
      printf '%s\n' "$2" 2>/dev/null >"$root/trees/.$1.name" # for people only
      rm -rf "$aside" "$final/.$token.aside"
    fi
  fi
  rm -f "$archive"
  tree "$1"
}

# End the processes that were told to write to folder $1; the shells' read leaves out what separates the arguments.
end_users() {
  for process in /proc/[0-9]*; do
    arguments=
    IFS= read -r arguments <"$process/cmdline"
    case $arguments in *"$1"*) kill -s KILL "${process##*/}" ;; esac
  done 2>/dev/null
}

# A fresh folder for one job. $1 `alone`: whoever asks holds the device, so what other jobs left is nobody's, and an agent that still runs
# there is one that a silent network left behind.
workdir() {
  if [ "${1-}" = alone ]; then
    for left in "$root"/jobs/*; do
      [ -d "$left" ] || continue
      end_users "$left/"
      rm -rf "$left"
    done
  fi
  try mkdir "$root/jobs/$token"
  say path "$root/jobs/$token"
}

# Remove a job's folder, and nothing else.
remove() {
  name=${1##*/}
  case $name in "" | . | ..) return ;; esac
  [ "$1" != "$root/jobs/$name" ] || rm -rf "$1"
}

# Each thing that lies here: its kB, its path, and its name or that of its archive.
list() {
  for thing in "$root"/blobs/*/* "$root"/blobs/*/.*.part "$root"/trees/* "$root"/trees/.*.aside "$root"/jobs/*; do
    [ -e "$thing" ] || [ -L "$thing" ] || continue
    kb=$(du -sk "$thing" 2>/dev/null) || continue
    case $thing in
      "$root"/blobs/*) name=${thing##*/} ;;
      *) name= ;;
    esac
    archive=$root/trees/.${thing##*/}.name
    [ ! -f "$archive" ] || IFS= read -r name <"$archive"
    say thing "${kb%%[!0-9]*}	${thing#"$root"/}	$name"
  done
}

# Remove all of it; the root too if nothing else is in it.
wipe() {
  try rm -rf "$root/blobs" "$root/trees" "$root/jobs"
  rmdir "$root" 2>/dev/null
}
