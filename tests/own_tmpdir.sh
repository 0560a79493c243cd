#!/bin/bash
# Runs a command with a TMPDIR of its own, which is removed afterwards. In a shared folder, files
# that starters of Open MPI leave make others fail that start or end at the same time.
#   own_tmpdir.sh COMMAND...
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
"$@"
