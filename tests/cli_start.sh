#!/bin/bash
# Tests how processes are started: by the mpirun of this MPI, by that of another MPI, and by launch.
#   cli_start.sh ULYSSES MPIRUN
program=$1
mpirun=$2
own_tmpdir=$(dirname "$(realpath "$0")")/own_tmpdir.sh
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

# --- processes that MPI knows nothing of: each would do the whole job

expect 0 '' "$program" "${good[@]}" --out run
commands=("${good[*]} --out never" 'eval --checkpoint run --data text.txt' 'generate --checkpoint run --prompt a --max-tokens 9'
  'bench attention --seq-len 64 --head-dim 16 --repeats 1')

# refused VARIABLE=VALUE STARTER...: every command that uses MPI; doctor says so, too.
refused() {
  local claim=$1 command
  shift
  for command in "${commands[@]}"; do
    # shellcheck disable=SC2086
    expect 2 "$claim says that .*, but MPI (.*) says that this one is alone: .*unset ${claim%%=*}" "$@" "$program" $command
    if grep -av '^$' out.log; then fail "$*: $command: it did something"; fi
  done
  [ ! -e never ] || fail "$*: it trained"
  expect 2 "'launch': $claim says that " "$@" "$program" launch --ranks 2 "${good[@]}" --out never
  timeout 60 "$@" "$program" doctor >out.log 2>err.log </dev/null
  [ $? -eq 1 ] || fail "$*: doctor: another exit code than 1: $(cat out.log err.log)"
  [ "$(grep -c "^FAIL  start  *$claim says that .*, but MPI (.*) says" out.log)" -eq 1 ] || fail "$*: doctor: $(cat out.log)"
}
refused PMI_SIZE=2 env PMI_SIZE=2 PMI_RANK=0
refused SLURM_STEP_NUM_TASKS=3 env SLURM_STEP_NUM_TASKS=3 SLURM_NTASKS=3 SLURM_PROCID=0

# The real ones, as far as they are here.
foreign=mpiexec.mpich claim=PMI_SIZE=2
"$program" doctor >doctor.log # not through a pipe, whose end would end it
grep -q '^MPI  *Open MPI' doctor.log || foreign=mpirun.openmpi claim=OMPI_COMM_WORLD_SIZE=2
if command -v $foreign >/dev/null; then
  # Each process with a TMPDIR of its own: Open MPI makes a folder there, which two that start at once both try to make.
  # Rank 0 prints the message and would end two seconds before the others, for which the proxy of MPICH would keep a core
  # busy. So it stays for as long as they give it.
  printf '#!/bin/sh\n"%s" "$@"\ncode=$?\n[ "$PMI_RANK" != 0 ] || sleep 2.2\nexit $code\n' "$own_tmpdir" >last.sh
  chmod +x last.sh
  refused $claim $foreign -n 2 ./last.sh
  # On purpose: two runs, of which each speaks.
  expect 0 '' $foreign -n 2 "$own_tmpdir" env -u "${claim%%=*}" -u PMIX_RANK "$program" "${good[@]}"
  [ "$(grep -c '^step 2/2' out.log)" -eq 2 ] || fail "two runs on purpose: $(cat out.log)"
  # One process is one, whoever has started it.
  expect 0 '' $foreign -n 1 "$program" "${good[@]}"
else
  echo "NOT TRIED: $foreign, which is not here"
fi

# --- no alarm: MPI and the environment agree, or nothing was started with it

# These runs use the choices of MPI itself, which the other tests override to save time.
as_users=(env -u OMPI_MCA_pml -u OMPI_MCA_btl -u HWLOC_COMPONENTS)
for ranks in 1 3; do
  expect 0 '' "${as_users[@]}" "$mpirun" -n $ranks "$program" "${good[@]}"
  expect 0 '' "${as_users[@]}" "$mpirun" -n $ranks "$program" doctor
  grep -q '^ok  *start  ' out.log || fail "doctor: $(cat out.log)"
  expect 0 '' env SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0 MPIRUN="$mpirun" "$program" launch --ranks $ranks "${good[@]}"
  grep -q "^ranks       $ranks: " out.log || fail "launch in a batch script: $(cat out.log)"
done
expect 0 '' env SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0 "$program" "${good[@]}"
expect 0 '' env SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0 "$program" "${good[@]}"
# Commands without MPI are answered once, whatever has started them.
expect 0 '' "$mpirun" -n 3 "$program" plan --model tiny.json
[ "$(grep -c '^ranks ' out.log)" -eq 1 ] || fail "plan, 3 times: $(cat out.log)"

# --- hwloc inside MPI, and inside mpirun where launch starts it, does not look for displays

# components TEXT COMMAND...: what hwloc says of itself each time that it begins to look
components() {
  local text=$1
  shift
  expect 0 '' env HWLOC_COMPONENTS_VERBOSE=1 "$@"
  cat out.log err.log >both.log
  grep -aq 'hwloc: Final list of enabled discovery components' both.log || fail "$*: no word of hwloc"
  [ "$(grep -ac 'hwloc: Final list' both.log)" -eq "$(grep -ac "hwloc: $text" both.log)" ] || fail "$*: $(grep -a "Final list" both.log)"
}
components 'Blacklisting component `gl`' env -u HWLOC_COMPONENTS "$program" "${good[@]}"
components 'Blacklisting component `gl`' env -u HWLOC_COMPONENTS "$program" doctor
components 'Blacklisting component `gl`' env -u HWLOC_COMPONENTS MPIRUN="$mpirun" "$program" launch --ranks 2 "${good[@]}"
components 'Blacklisting component `pci`' env HWLOC_COMPONENTS=-pci "$program" "${good[@]}"

# --- how launch reports the end of mpirun

# Logs of its own: daemons of the mpirun before may still write to the last ones.
# ends CODE TEXT SCRIPT: launch ends with this code, and says this (nothing: no word), where a starter does that.
ends() {
  local code
  printf '#!/bin/sh\n%s\n' "$3" >starter.sh
  chmod +x starter.sh
  MPIRUN=./starter.sh timeout 60 "$program" launch "${good[@]}" >ends.out 2>ends.err </dev/null
  code=$?
  if [ $code -ne "$1" ] || ! grep -aqx "${2:+ulysses: error: }$2.*" <(cat ends.err; echo); then
    fail "launch: $3: exit code $code (expected $1, '$2'): $(cat ends.err)"
  fi
  [ "$(wc -l <ends.err)" -eq $((${#2} > 0)) ] || fail "launch: $3: $(cat ends.err)"
}
# Failures of Open MPI itself, and what no rank ends with.
for code in 70 127 192 200 213 243 255; do
  ends 1 "./starter.sh failed with exit code $code: .*; --resume auto" "exit $code"
done
for code in 0 2 3 4 75; do ends $code '' "exit $code"; done
# A failure that Open MPI keeps to itself, as launch tells it to be quiet about exit codes.
MPIRUN=$mpirun OMPI_MCA_plm=bogus timeout 60 "$program" launch --ranks 2 doctor >out.log 2>err.log </dev/null
code=$?
[ $code -ne 0 ] && grep -q "ulysses doctor'" err.log || fail "launch: a failure without a word: exit code $code"
for number in 6 9 11 15; do
  ends 1 "a rank or mpirun was ended by signal ${number}[; ]" "exit $((128 + number))"
  ends 1 "a rank or mpirun was ended by signal ${number}[; ]" "kill -$number \$\$"
done
# A rank that dies, as this MPI reports it.
MPIRUN=$mpirun background "$program" launch --ranks 2 "${good[@]}" --steps 1000000
await says out.log '^step 1/'
parent=$(pgrep -P $job)
rank=$(pgrep -P "$(pgrep -P "$parent" | head -n 1)" || pgrep -P "$parent")
kill -KILL "$(head -n 1 <<<"$rank")"
wait $job
code=$?
[ $code -eq 1 ] && grep -q 'ended by signal 9' err.log || fail "launch: a rank that died: exit code $code: $(cat err.log)"

finish
