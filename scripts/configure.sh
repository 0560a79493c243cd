#!/bin/bash
# Configures build/PRESET with CMake. In a tree that was copied or moved together with its build it
# starts from scratch, since CMake refuses a cache that was made elsewhere.
#
#   scripts/configure.sh PRESET [ARGUMENT OF CMAKE]...     CMAKE=cmake
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:?usage: $0 PRESET [ARGUMENT OF CMAKE]...}
build=build/$preset
shift

if [ -f "$build/CMakeCache.txt" ]; then
  made_in=$(sed -n 's/^CMAKE_CACHEFILE_DIR:INTERNAL=//p' "$build/CMakeCache.txt")
  if ! [ "$made_in" -ef "$build" ]; then
    echo "configure: $build was configured as $made_in, and is configured anew"
    rm -rf "$build/CMakeCache.txt" "$build/CMakeFiles"
  fi
fi
exec "${CMAKE:-cmake}" --preset "$preset" "$@"
