#!/bin/bash
# Repeats KILLS times: a run on a random mesh at a random stage continues from the newest
# checkpoint, and a random rank of it gets SIGKILL, half of the times while a checkpoint is being
# written. In the end the last checkpoint must equal that of an undisturbed run, bit for bit.
#
# A run that ends before the signal comes, as on a busy machine, is repeated.
#
# With LAYOUTS=all the runs take turns on layouts of all axes, whose results depend on the layout to
# within rounding: then the evaluation loss of the last checkpoint must equal that of the undisturbed
# run to within 1e-5. Training amplifies differences, and more so at a higher learning rate, so
# these runs use a low one.
#
#   tests/soak/kills.sh PROGRAM      KILLS=100, SEED=1 and LAYOUTS=reproducible by default
ulysses=$(realpath "${1:?usage: $0 PROGRAM}")
kills=${KILLS:-100}
RANDOM=${SEED:-1}
folder=$(dirname "$(realpath "$0")")
. "$folder/common.sh"
. "$folder/../end_of_job.sh"

# Ranks and flags.
meshes=('1' '2' '2 --dp 2' '4' '4 --dp 2' '4 --dp 4' '8' '8 --dp 2' '2 --pp 2' '3 --pp 3' '4 --pp 2 --dp 2')
if [ "${LAYOUTS:-reproducible}" = all ]; then
  meshes=('2 --tp 2' '4 --ulysses 2 --dp 2' '3 --ring 3' '4 --tp 2 --ring 2' '2 --gather 2' '6 --tp 3' '4 --tp 2 --dp 2' '1'
    '2 --pp 2' '3 --pp 3' '4 --pp 2 --tp 2' '6 --pp 3 --ring 2')
  mode=(--lr 1e-4)
fi
steps=$((15 * kills + 20))
every=3
killed=0 in_save=0 resumed=0 missed=0

mkdir out

# find_newest: $newest, the step of the newest checkpoint; 0 before the first. Without another process: a run is fast.
find_newest() {
  local all=(out/step-*)
  newest=${all[-1]#out/step-}
  if [ "$newest" = '*' ]; then newest=0; else newest=$((10#$newest)); fi
}

# ranks_of JOB: the processes of its ranks; the job is a shell, mpirun its child, ranks the children of that.
ranks_of() { pgrep -P "$(pgrep -P "$1" || echo 0)" || true; }

# One run that is killed.
run_and_kill() {
  local mesh stage=$((RANDOM % 4)) start goal job victims is_ours= is_in_save=
  read -ra mesh <<<"${meshes[RANDOM % ${#meshes[@]}]}"
  find_newest
  start=$newest
  goal=$((start + RANDOM % 10))
  train "${mesh[0]}" 1 "${mesh[@]:1}" --zero $stage \
    --steps $steps --save-every $every --out out --resume auto >log 2>&1 &
  job=$!
  while kill -0 $job 2>/dev/null; do
    find_newest
    if [ $newest -ge $goal ]; then
      # Every second time wait for the hidden folder of a save that is under way.
      if [ $((killed % 2)) -eq 0 ] || compgen -G 'out/.step-*.tmp' >/dev/null; then
        mapfile -t victims < <(ranks_of $job)
        if [ ${#victims[@]} -gt 0 ] && kill -KILL "${victims[RANDOM % ${#victims[@]}]}" 2>/dev/null; then
          is_ours=yes
          if compgen -G 'out/.step-*.tmp' >/dev/null; then is_in_save=yes; fi
          break
        fi
      fi
    fi
    sleep 0.002
  done
  end_of_job $job
  if wait $job; then
    missed=$((missed + 1))
    [ $missed -lt $((20 + kills)) ] || fail "$missed runs ended before they were killed: $killed of $kills kills"
    for folder in out/step-*; do [ $((10#${folder#out/step-})) -le $start ] || rm -r "$folder"; done
    return
  fi
  [ -n "$is_ours" ] || { cat log; fail "a run failed by itself"; }
  killed=$((killed + 1))
  [ -z "$is_in_save" ] || in_save=$((in_save + 1))
  [ $start -eq 0 ] || resumed=$((resumed + 1))
}

# eval_loss CHECKPOINT: its loss on the text.
eval_loss() {
  "$ulysses" eval --checkpoint "$1" --data text.txt --threads 1 --json 2>/dev/null |
    sed -n 's/.*"loss": *\([0-9.e-]*\).*/\1/p' | head -n 1
}

while [ $killed -lt "$kills" ]; do run_and_kill; done
train 4 1 --dp 2 --sp 2 --zero 3 --steps $steps --save-every $every --out out --resume auto >log
train 1 1 --steps $steps --out undisturbed >log

last=$(printf 'step-%010d' $steps)
echo "$(bits "out/$last")  $killed kills ($in_save with a save under way), $resumed resumes, $missed missed, $lockups lockups of mpirun"
echo "$(bits "undisturbed/$last")  undisturbed"
if [ "${LAYOUTS:-reproducible}" = reproducible ]; then
  [ "$(bits "out/$last")" = "$(bits "undisturbed/$last")" ] || fail "the bits differ"
else
  losses=("$(eval_loss "out/$last")" "$(eval_loss "undisturbed/$last")")
  echo "losses ${losses[*]}"
  awk -v a="${losses[0]}" -v b="${losses[1]}" 'BEGIN { exit !(a > 0 && (a - b)^2 <= (1e-5 * b)^2) }' ||
    fail "the losses differ"
fi
