#!/bin/bash
# KILLS times: a run on a random mesh at a random stage goes on from the newest checkpoint, and a random rank of it
# gets SIGKILL, half of the times while a checkpoint is being written. In the end the last checkpoint must
# equal that of a run that nobody disturbed, bit for bit.
#
#   tests/soak/kills.sh PROGRAM      KILLS=100 and SEED=1 by default
ulysses=$(realpath "${1:?usage: $0 PROGRAM}")
kills=${KILLS:-100}
RANDOM=${SEED:-1}
. "$(dirname "$(realpath "$0")")/common.sh"

meshes=(1x1 1x2 2x1 1x4 2x2 4x1 1x8 2x4)
steps=$((15 * kills + 20))
every=3
killed=0 in_save=0 resumed=0 lockups=0

mkdir out

# Number of the newest checkpoint; nothing before the first.
newest() { ls out | sed -n 's/^step-0*//p' | tail -n 1; }

# ranks_of JOB: the processes of its ranks; the job is a shell, mpirun its child, ranks the children of that.
ranks_of() { pgrep -P "$(pgrep -P "$1" || echo 0)" || true; }

# A job whose rank was killed ends by itself. Open MPI 4.1's mpirun sometimes locks up at its own end, after it
# has told of the death and all ranks are gone: then it is helped along. A rank that lives on is a failure.
end_of_job() {
  local deadline=$((SECONDS + 60)) starter_pid
  while kill -0 "$1" 2>/dev/null; do
    if [ $SECONDS -ge $deadline ]; then
      starter_pid=$(pgrep -P "$1" || true)
      if [ -n "$starter_pid" ] && [ -z "$(pgrep -r R,S,D,T -P "$starter_pid" || true)" ]; then
        kill -KILL "$starter_pid" 2>/dev/null || true
        lockups=$((lockups + 1)) deadline=$((SECONDS + 60))
      else
        fail "60 seconds after a rank was killed the others still run"
      fi
    fi
    sleep 0.05
  done
}

# One run that is killed; fails when it ended by itself first.
run_and_kill() {
  local mesh=${meshes[RANDOM % 8]} stage=$((RANDOM % 4)) start goal job victims is_ours=
  start=$(newest)
  goal=$((${start:-0} + RANDOM % 10))
  [ -z "$start" ] || resumed=$((resumed + 1))
  train $((${mesh%x*} * ${mesh#*x})) 1 --dp "${mesh%x*}" --sp "${mesh#*x}" --zero $stage \
    --steps $steps --save-every $every --out out --resume auto >log 2>&1 &
  job=$!
  while kill -0 $job 2>/dev/null; do
    step=$(newest)
    if [ "${step:-0}" -ge $goal ]; then
      # Every second time wait for the hidden folder of a save that is under way.
      if [ $((killed % 2)) -eq 0 ] || compgen -G 'out/.step-*.tmp' >/dev/null; then
        mapfile -t victims < <(ranks_of $job)
        if [ ${#victims[@]} -gt 0 ] && kill -KILL "${victims[RANDOM % ${#victims[@]}]}" 2>/dev/null; then
          killed=$((killed + 1)) is_ours=yes
          if compgen -G 'out/.step-*.tmp' >/dev/null; then in_save=$((in_save + 1)); fi
          break
        fi
      fi
    fi
    sleep 0.002
  done
  end_of_job $job
  wait $job && fail "a run ended before it was killed: $killed of $kills kills"
  [ -n "$is_ours" ] || { cat log; fail "a run failed by itself"; }
}

while [ $killed -lt "$kills" ]; do run_and_kill; done
train 4 1 --dp 2 --sp 2 --zero 3 --steps $steps --save-every $every --out out --resume auto >log
train 1 1 --steps $steps --out undisturbed >log

last=$(printf 'step-%010d' $steps)
echo "$(bits "out/$last")  $killed kills ($in_save with a save under way), $resumed resumes, $lockups lockups of mpirun"
echo "$(bits "undisturbed/$last")  undisturbed"
[ "$(bits "out/$last")" = "$(bits "undisturbed/$last")" ] || fail "the bits differ"
