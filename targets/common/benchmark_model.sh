# The device's half of edgekit/benchmark_model.py, in POSIX sh. The host puts before it
#
#   folder, tool, mask (for taskset, "" for none), n (how many samples, "" for all), size (bytes of all outputs of one sample)
#   inputs()  { "$1" INDEX BYTES FILE.npy; … }        each input in the file's order, and how long one sample of it is
#   outputs() { "$1" INDEX BYTES DESCR SHAPE; … }     each output in the file's order; numpy's words for its dtype, and its sizes as `1,10,`
#   tool_once(), tool_often()                         `run` with the tool's options: on one sample, and on sample 0 many times
#
# and behind it `check` or `time_it`. What the tool prints comes back with "| " before each line, what is found here as lines that
# begin with "= "; the last one is "= end".

LC_ALL=C
export LC_ALL
umask 077

say() { printf '= %s\n' "$*"; }

stop() {
  say "$@"
  say end
  exit 0
}

# The processor that the tool was built for (e_machine of its ELF header), and the one there is. A script has none.
machine() {
  set -- $(od -An -v -tu1 -N20 "$tool" 2>/dev/null)
  [ "$1 $2 $3 $4" != "127 69 76 70" ] || say machine "${19}" "$(uname -m)"
}

# Input $1's samples without the .npy's header, which is 10 bytes and as many more as the last two of these say (NumPy's format 1.0).
strip() {
  set -- "$1" "$2" "$3" $(od -An -v -tu1 -N10 "$3" 2>/dev/null)
  [ "$4 $5 $6 $7 $8 $9 ${10}" = "147 78 85 77 80 89 1" ] || stop unreadable "$3"
  set -- "$1" "$2" "$3" "$((${12} + 256 * ${13} + 11))"
  if [ -n "$n" ]; then
    tail -c "+$4" "$3" | head -c "$((n * $2))" >"$1.raw" || stop disk
  else
    tail -c "+$4" "$3" >"$1.raw" || stop disk
    n=$(($(wc -c <"$1.raw") / $2))
  fi
}

# The sample numbered $sample of input $1, as the tool reads it.
slice() { dd "if=$1.raw" "of=$1.in" "bs=$2" "skip=$sample" count=1 2>/dev/null || stop disk; }

prepare() {
  mkdir -p "$folder" && cd "$folder" || stop disk
  rm -f ./*
  [ -f "$tool" ] || stop absent
  machine
  [ -x "$tool" ] || { cp "$tool" ./tool && chmod 700 ./tool && tool=./tool; } || stop disk
  [ -z "$mask" ] || command -v taskset >/dev/null 2>&1 || stop taskset
  inputs strip
}

# Run the tool; what it printed is shown if it failed, or if $1 is not empty. Where $1 is `optional` it may fail.
run() {
  show=$1
  shift
  rm -f out.bin
  if [ -n "$mask" ]; then taskset "$mask" "$tool" "$@" </dev/null >log 2>&1; else "$tool" "$@" </dev/null >log 2>&1; fi
  code=$?
  [ "$code$show" = 0 ] || { sed 's/^/| /' log; echo; }
  [ "$code$show" = 0 ] || say code "$code"
  [ "$code" = 0 ] || [ "$show" = optional ] || stop failed
}

# Split what the tool wrote into the outputs' files.
keep() {
  if [ ! -f out.bin ]; then
    sed 's/^/| /' log
    echo
    stop missing
  fi
  found=$(($(wc -c <out.bin)))
  [ "$found" -eq "$size" ] || stop size "$found"
  at=1
  outputs piece
}

piece() {
  tail -c "+$at" out.bin | head -c "$2" >>"$1.$part" || stop disk
  at=$((at + $2))
}

# Output $1 of all samples as a .npy whose header is 512 bytes.
join() {
  : >>"$1.rest"
  printf '\223NUMPY\001\000\366\001%-501s\n' "{'descr': '$3', 'fortran_order': False, 'shape': ($n,$4), }" >"$1.npy" || stop disk
  cat "$1.first" "$1.rest" >>"$1.npy" || stop disk
  rm -f "$1.first" "$1.rest"
}

# Samples 1 to n - 1, each in a process of its own; then sample 0 many times in one process, the last of whose outputs is kept.
check() {
  prepare
  sample=1
  part=rest
  while [ "$sample" -lt "$n" ]; do
    say sample "$sample" "$n"
    inputs slice
    tool_once
    keep
    sample=$((sample + 1))
  done
  sample=0
  part=first
  inputs slice
  tool_often
  keep
  outputs join
  rm -f ./*.raw ./*.in out.bin
  stop done
}

# Sample 0, timed; then once more with each operator timed.
time_it() {
  n=1
  prepare
  sample=0
  inputs slice
  tool_often
  say profile
  tool_profile
  stop done
}
