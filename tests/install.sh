#!/bin/bash
# Tests the library as a user links it: installs into a temporary folder, moves that elsewhere, and
# builds the examples there in a clean folder, in each possible way. They must print what their
# pages say. PYTHON and MPIFORT in the environment are used if they exist and have what is needed.
#   install.sh CMAKE BUILD MPIRUN CC [CFLAGS]
set -euo pipefail
cmake=$1 build=$2 mpirun=$3 cc=$4 cflags=${5:-}
export LC_ALL=C
folder=$(mktemp -d)
mkdir "$folder/tmp"
export TMPDIR=$folder/tmp # starters of Open MPI that share one trip over each other
trap 'rm -rf "$folder"' EXIT
failed=0

fail() {
  echo "FAILED: $*"
  failed=1
}

# The component is that of everything; so named, its list of files leaves that of `make install` alone.
DESTDIR=$folder/stage "$cmake" --install "$build" --prefix /opt/ulysses --component Unspecified >/dev/null
prefix=$folder/moved
mv "$folder/stage/opt/ulysses" "$prefix"
pc=$(find "$prefix" -name ulysses.pc)
export PKG_CONFIG_PATH=${pc%/*}${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
libdir=$(pkg-config --variable=libdir ulysses)
"$prefix/bin/ulysses" help >/dev/null || fail "the installed program"

# The header alone, in either language.
cd "$folder"
echo '#include <ulysses.h>' >alone.c
cp alone.c alone.cc
warnings="-pedantic -Wall -Wextra -Werror -I$prefix/include -fsyntax-only"
"$cc" -std=c11 $warnings alone.c || fail "the header in C11"

# A program in C++ that calls MPI itself: without the C++ bindings, which some builds of MPI no longer have.
cat >own_mpi.cc <<'END'
#include <mpi.h>
#include <ulysses.h>
int main(int argc, char **argv) {
  if (uly_init(&argc, &argv) != ULY_OK) return 1;
  int is_there = 0;
  MPI_Comm copy = MPI_COMM_NULL;
  MPI_Initialized(&is_there);
  if (MPI_Comm_dup(MPI_COMM_WORLD, &copy) != MPI_SUCCESS || MPI_Comm_free(&copy) != MPI_SUCCESS) return 1;
  uly_finalize();
  return is_there ? 0 : 1;
}
END
mkdir cxx
cat >cxx/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.18)
project(own_mpi LANGUAGES CXX)
find_package(ulysses CONFIG REQUIRED COMPONENTS mpi static)
add_executable(shared ../own_mpi.cc)
target_link_libraries(shared ulysses::ulysses ulysses::mpi)
add_executable(static ../own_mpi.cc)
target_link_libraries(static ulysses::static)
END
for flag in $(pkg-config --cflags ulysses); do echo "$flag"; done | grep -q '^-D.*_SKIP_MPICXX' || fail "MPI with its C++ bindings"
if command -v g++ >/dev/null; then
  g++ -std=c++17 $warnings alone.cc || fail "the header in C++17"
  mpi=$(pkg-config --variable=mpi ulysses)
  for way in "" --static; do
    # shellcheck disable=SC2046,SC2086
    if g++ $cflags $(pkg-config --cflags ulysses "$mpi") own_mpi.cc -o own_mpi $(pkg-config $way --libs ulysses "$mpi"); then
      LD_LIBRARY_PATH=$libdir timeout 600 "$mpirun" -n 1 ./own_mpi || fail "C++ with an MPI of its own, pkg-config $way"
    else
      fail "C++ with an MPI of its own is not linked by pkg-config $way"
    fi
  done
  "$cmake" -S cxx -B cxx -DCMAKE_CXX_COMPILER=g++ -DCMAKE_CXX_FLAGS="$cflags" -DCMAKE_PREFIX_PATH="$prefix" >log.txt &&
    "$cmake" --build cxx >log.txt || fail "C++ with an MPI of its own is not linked by CMake: $(cat log.txt)"
else
  echo "no g++: C++ was not tried"
fi

# expected PAGE RANKS: the block of the page that begins with "$ mpirun -n RANKS ", without this line; or the only one.
expected() {
  awk -v ranks="$2" '
    /^```/ { is_inside = /^```console/; next }
    is_inside && /^\$ mpirun -n / { block = $4; num_blocks++; next }
    is_inside { text[block] = text[block] $0 "\n" }
    END { printf "%s", num_blocks == 1 ? text[block] : text[ranks] }' "$1"
}

# run FOLDER WAY RANKS...: all examples there. Lines of several ranks come in any order.
run() {
  local where=$1 way=$2 ranks page name
  shift 2
  cd "$where"
  for page in "$folder"/examples/[0-9]*.md; do
    name=$(basename "$page" .md)
    [ -e "$folder/examples/$name.c" ] || continue
    case $way in
      static) ! readelf -d "./$name" | grep -q 'NEEDED.*libulysses' || fail "$name: linked to the shared library" ;;
      *) readelf -d "./$name" | grep -q 'NEEDED.*libulysses.so.[0-9]' || fail "$name: no shared library" ;;
    esac
    for ranks in "$@"; do compare "$name" "$way" "$ranks" "./$name"; done
  done
}

# compare NAME WAY RANKS COMMAND...: prints what its page says.
compare() {
  local name=$1 way=$2 ranks=$3
  shift 3
  expected "$folder/examples/$name.md" "$ranks" | sort >said.txt
  [ -s said.txt ] || fail "$name.md does not say what $ranks ranks print"
  timeout 600 "$mpirun" -n "$ranks" "$@" >out.txt 2>err.txt || fail "$name, $way, $ranks ranks: exit code $?"
  sort out.txt | diff -u --label "$name.md" --label "$name, $way, $ranks ranks" said.txt - || {
    cat err.txt
    failed=1
  }
}

# copy WAY: a clean folder of the installed examples, and the only way to them.
copy() {
  cp -r "$prefix"/share/doc/ulysses/examples "$folder/$1"
  cd "$folder/$1"
}

cp -r "$prefix"/share/doc/ulysses/examples "$folder/examples"
copy shared
make -s CC="$cc" CFLAGS="-Wall -Wextra -Werror $cflags"
LD_LIBRARY_PATH=$libdir run "$folder/shared" shared 1 2 3 4
copy static
make -s CC="$cc" CFLAGS="-Wall -Wextra -Werror $cflags" STATIC=1
run "$folder/static" static 2
copy packages
for way in ulysses static; do
  "$cmake" -B $way -DCMAKE_C_COMPILER="$cc" -DCMAKE_C_FLAGS="$cflags" -DCMAKE_PREFIX_PATH="$prefix" \
    -DULYSSES=ulysses::$way >log.txt
  "$cmake" --build $way >log.txt || { cat log.txt && exit 1; }
done
run "$folder/packages/ulysses" ulysses 3
run "$folder/packages/static" static 2

# The bindings. Python's finds the library by itself; what a library with sanitizers needs, Python does not have.
cd "$folder/shared"
if [ -n "$cflags" ]; then
  echo "a library with sanitizers: the bindings were not tried"
  exit $failed
fi
if "${PYTHON:-false}" -c 'import numpy' 2>err.txt; then
  export PYTHONDONTWRITEBYTECODE=1
  for ranks in 1 2 3; do
    PYTHONPATH=$(pkg-config --variable=pythondir ulysses) compare 04_attention_python python "$ranks" \
      "$PYTHON" 04_attention_python.py
  done
else
  echo "no python3 with numpy: the Python module was not tried"
fi
if "${MPIFORT:-false}" --version >/dev/null 2>&1; then
  make -s 05_attention_fortran MPIFORT="$MPIFORT" FFLAGS="-Wall -Wextra -Werror"
  for ranks in 1 2 3; do
    LD_LIBRARY_PATH=$libdir compare 05_attention_fortran fortran "$ranks" ./05_attention_fortran
  done
else
  echo "no Fortran compiler: the Fortran module was not tried"
fi
exit $failed
