#!/bin/bash
# Compares CASES random cases of attention with f64: every head dimension, all masks and their
# intersections, f32 and bf16, scales from 1e-30 to 1e6, forward and backward; a quarter of them on
# each of 1, 2, 3 and 4 ranks. Then tests the kernels alone, ROUNDS times at every head dimension,
# with NaN, infinity and 1e30 in what masks hide.
#
#   tests/soak/attention_cases.sh BUILD      CASES=6000, ROUNDS=5 and SEED=1 by default
set -euo pipefail
build=$(realpath "${1:?usage: $0 BUILD, as build/release}")
cases=${CASES:-6000}
export SEED=${SEED:-1} OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1

for ranks in 1 2 3 4; do
  CASES=$(((cases + 3) / 4)) "${MPIRUN:-mpirun.openmpi}" -n "$ranks" "$build/tests/test_attention"
done
TURNS=${ROUNDS:-5} "$build/tests/test_attention_kernels"
echo "$cases cases on 1, 2, 3 and 4 ranks, and ${ROUNDS:-5} rounds of the kernels: all right"
