#!/bin/bash
# Runs a command with a TMPDIR of its own, which is removed afterwards: what starters of Open MPI
# leave in a folder that they share makes others fail that start or end at the same time.
#   own_tmpdir.sh COMMAND...
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
"$@"
