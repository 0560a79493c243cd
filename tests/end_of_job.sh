# Waits for a job one of whose ranks was killed. Source it; it counts in $lockups, and calls `fail` with
# a sentence.
lockups=0

# end_of_job JOB: until it has ended, which it does by itself. Open MPI 4.1's mpirun, the child of the
# job, sometimes locks up at its own end, after it has told of the death and all ranks, its children,
# are gone: then it is helped along. A rank that lives on is a failure.
end_of_job() {
  local deadline=$((SECONDS + 300)) starter_pid
  while kill -0 "$1" 2>/dev/null; do
    if [ $SECONDS -ge $deadline ]; then
      starter_pid=$(pgrep -P "$1" || true)
      if [ -z "$starter_pid" ] || [ -n "$(pgrep -r R,S,D,T -P "$starter_pid" || true)" ]; then
        fail "300 seconds after a rank was killed the others still run"
        return 1
      fi
      kill -KILL "$starter_pid" 2>/dev/null || true
      lockups=$((lockups + 1)) deadline=$((SECONDS + 300))
    fi
    sleep 0.05
  done
}
