#!/bin/bash
# Tests that `make install` also works in a tree that was copied, or moved, together with its build.
# A small project stands for the real one; the Makefile, its scripts and the presets are those of
# the tree.
#   copied_tree.sh
set -uo pipefail
tree=$(realpath "$(dirname "$0")/..")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failed=0

mkdir -p first/scripts
cp "$tree/Makefile" "$tree/CMakePresets.json" first
cp "$tree"/scripts/*.sh first/scripts
cat >first/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.22)
project(small LANGUAGES NONE)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/where ${CMAKE_CURRENT_SOURCE_DIR})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/where DESTINATION share)
END

# installs TREE: and what was installed was made there.
installs() {
  rm -rf stage
  if ! make -C "$1" install PREFIX=/prefix DESTDIR="$folder/stage" >log.txt 2>&1; then
    echo "FAILED: make install in the folder $1: $(cat log.txt)"
    failed=1
  elif [ "$(cat stage/prefix/share/where)" != "$folder/$1" ]; then
    echo "FAILED: the folder $1 installed what was built in $(cat stage/prefix/share/where)"
    failed=1
  fi
}

installs first
cp -r first copied
installs copied
mv copied moved
installs moved
# What was configured in its place is not configured anew: that would forget the user's settings.
cmake -DMINE=kept first/build/release >/dev/null
installs first
if ! grep -q '^MINE:.*=kept$' first/build/release/CMakeCache.txt; then
  echo "FAILED: a setting is forgotten"
  failed=1
fi

[ $failed -eq 0 ] && echo "all as expected"
exit $failed
