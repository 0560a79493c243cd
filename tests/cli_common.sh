# What the tests of the program share: a scratch folder with small models and data, and what commands are held to. Source
# it with the path of the program in $program and MPI's starter in $mpirun.
set -uo pipefail
. "$(dirname "$(realpath "$0")")/end_of_job.sh"
folder=$(mktemp -d)
remove_folder() {
  chmod -R u+rwX "$folder"
  rm -rf "$folder"
}
trap remove_folder EXIT
cd "$folder" || exit 1
# What MPI leaves in TMPDIR: starters of Open MPI that share a folder trip over each other there.
mkdir tmp
export TMPDIR=$folder/tmp
failed=0
num_rows=0
jobs=()
job=

# Seconds after which a command hangs, or what is waited for does not come: far more than anything
# here takes, on a machine that has other work to do, too.
limit=600

head -c 3000 /dev/zero | tr '\0' 'x' >text.txt
cat >tiny.json <<'JSON'
{"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 257, "max_position_embeddings": 4096}
JSON
# Errors are searched as bytes: a name in them may be no UTF-8.
export LC_ALL=C

# Who is root may read and write everything: rows give that up, so that those about permissions say something.
starter=("$mpirun")
has_permissions=yes
if [ "$(id -u)" -eq 0 ]; then
  starter=(setpriv --bounding-set=-dac_override,-dac_read_search "$mpirun")
  if ! "${starter[@]::2}" true; then
    starter=("$mpirun")
    has_permissions=no
    echo 'NOT TRIED: rows about permissions, which root can do without here'
  fi
fi

# A short run, without data and with some.
bare=(train --model tiny.json --seq-len 64 --steps 2 --no-measure-peak)
good=("${bare[@]}" --data text.txt)

# judge NAME CODE TEXT COMMAND...: the exit code, and (unless it is 0) one line of error with this text; no warning of
# a sanitizer, no signal. Output goes to NAME.log, errors to NAME.err.
judge() {
  local name=$1 code=$2 text=$3 got errors
  shift 3
  timeout $limit "$@" >"$name.log" 2>"$name.err" </dev/null
  got=$?
  errors=$(grep -ac 'ulysses: error:' "$name.err")
  if [ $got -eq "$code" ] && ! grep -aqE 'Sanitizer|signal [0-9]|Signal:' "$name.err"; then
    [ "$code" -eq 0 ] && return
    [ "$errors" -eq 1 ] && grep -aq -- "ulysses: error: .*$text" "$name.err" && return
  fi
  echo "FAILED: $*: exit code $got (expected $code), $errors messages (expected '$text'):" | cut -c 1-1000
  grep -av '^--\|^$' "$name.err" | head -n 20 | cut -c 1-1000
  return 1
}

# expect CODE TEXT COMMAND...: leaves out.log and err.log.
expect() {
  judge out "$@" || failed=1
  mv out.err err.log
}

# beside CALL CODE TEXT COMMAND...: judges a command in the background, with a TMPDIR of its own. Several run at a time,
# since MPI's start is mostly waiting. CALL is a name that no other has. rows_end waits for all.
beside() {
  mkdir "tmp-$1"
  TMPDIR=$folder/tmp-$1 judge "row-$1" "${@:2}" &
  jobs+=($!)
  rows_end 6
}

# row CODE TEXT ARGUMENTS...: runs the program on 3 ranks, or on each number of ranks in ROW_RANKS, beside other rows. An @
# among the arguments stands for what no other call has.
row_ranks=${ROW_RANKS:-3}
row() {
  local ranks call code=$1 text=$2
  shift 2
  num_rows=$((num_rows + 1))
  for ranks in $row_ranks; do
    call=$num_rows-$ranks
    beside "$call" "$code" "$text" "${starter[@]}" -n $ranks "$program" "${@//@/$call}"
  done
}

# lone_row CODE TEXT ARGUMENTS...: like row, for something that each process does by itself: runs one process without
# mpirun, in a twentieth of the time. If ROW_RANKS is set, it is the same as row.
lone_row() {
  if [ -n "${ROW_RANKS:-}" ]; then
    row "$@"
    return
  fi
  local call=$((++num_rows)) code=$1 text=$2
  shift 2
  beside "$call" "$code" "$text" "${starter[@]::${#starter[@]}-1}" "$program" "${@//@/$call}"
}

# rows_end [NUMBER]: until at most so many calls are under way
rows_end() {
  while [ ${#jobs[@]} -gt "${1:-0}" ]; do
    wait "${jobs[0]}" || failed=1
    jobs=("${jobs[@]:1}")
  done
}

fail() {
  echo "FAILED: $*"
  failed=1
}

# is_json: whether each line of standard input is a value of JSON.
is_json() { perl -MJSON::PP -ne 'decode_json($_)'; }

# background COMMAND...: in the background, as $job. Output goes to out.log, errors to err.log. They are emptied here, since
# the background may be late, and then `await` would read what the command before has written.
background() {
  : >out.log
  : >err.log
  "$@" >out.log 2>err.log </dev/null &
  job=$!
}

# begin COMMAND...: as background, with a time limit and a TMPDIR of its own.
begin() {
  mkdir -p tmp-job
  TMPDIR=$folder/tmp-job background timeout $limit "$@"
}

# await COMMAND...: until it succeeds; not if $job ends before.
await() {
  local deadline=$((SECONDS + limit)) is_over=
  until "$@" >/dev/null 2>&1; do
    if [ -n "$is_over" ] || [ $SECONDS -ge $deadline ]; then
      fail "waited in vain for: $*: $(cat out.log err.log)"
      return 1
    fi
    kill -0 "$job" 2>/dev/null || is_over=yes
    sleep 0.05
  done
}

# says FILE TEXT [NUMBER]: whether so many lines of the file have the text
says() { [ "$(grep -c -- "$2" "$1")" -ge "${3:-1}" ]; }

# hears FILE SIGNAL: whether the process whose id is in the file is the program, and catches this signal. What comes
# before that ends it.
hears() {
  local pid key mask number
  read -r pid <"$1" && number=$(kill -l "$2") && [ "/proc/$pid/exe" -ef "$program" ] || return 1
  while read -r key mask; do
    [ "$key" != SigCgt: ] || break
  done <"/proc/$pid/status"
  [ $((0x$mask >> (number - 1) & 1)) -eq 1 ]
}

# begin_launch MPIRUN ARGUMENT...: `launch` in the background, as $job, once it has started MPIRUN: before that Ctrl-C
# would get lost, which whatever runs in the background of a script does not hear.
begin_launch() {
  MPIRUN=$1 background "$program" launch "${@:2}"
  await pgrep -P $job
}

# Seconds between Open MPI's TERM and KILL to the ranks that are left when one has failed: it always waits that long.
# Ranks of `train` fail together, after rank 0 has spoken; those of other commands each alone, so rank 0 needs time.
patience() { export OMPI_MCA_odls_base_sigkill_timeout=$1; }

# Each rank leaves its process id in pid.RANK.
cat >rank.sh <<'SH'
#!/bin/bash
echo $$ >"pid.${OMPI_COMM_WORLD_RANK:-$PMI_RANK}"
exec "$@"
SH
chmod +x rank.sh

finish() {
  rows_end
  [ $failed -ne 0 ] || echo "all as expected$([ $num_rows -eq 0 ] || echo ": $num_rows rows, each on $row_ranks ranks")"
  exit $failed
}
