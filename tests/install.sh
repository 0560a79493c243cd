#!/bin/bash
# The library as a stranger links it: installs into a temporary folder, moves that elsewhere, and builds the examples
# there in a clean folder, in each way that there is. They must print what their pages say.
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
if command -v g++ >/dev/null; then
  g++ -std=c++17 $warnings alone.cc || fail "the header in C++17"
else
  echo "no g++: the header was not tried in C++"
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
    case $way in
      static) ! readelf -d "./$name" | grep -q 'NEEDED.*libulysses' || fail "$name: linked to the shared library" ;;
      *) readelf -d "./$name" | grep -q 'NEEDED.*libulysses.so.[0-9]' || fail "$name: no shared library" ;;
    esac
    for ranks in "$@"; do
      expected "$page" "$ranks" | sort >said.txt
      [ -s said.txt ] || fail "$name.md does not say what $ranks ranks print"
      timeout 600 "$mpirun" -n "$ranks" "./$name" >out.txt 2>err.txt || fail "$name, $way, $ranks ranks: exit code $?"
      sort out.txt | diff -u --label "$name.md" --label "$name, $way, $ranks ranks" said.txt - || {
        cat err.txt
        failed=1
      }
    done
  done
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
exit $failed
