#!/bin/bash
# Tests that the names that the library shows are those of data/symbols.txt, and those that
# ulysses.h declares, so that programs can link tomorrow what they link today.
#
#   symbols.sh SHARED STATIC HEADER LIST       compares
#   symbols.sh --update SHARED LIST            writes the list again
set -euo pipefail
export LC_ALL=C

nm=${NM:-nm}
of_shared() { "$nm" -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort; }
# Clang's locks of OpenMP, which begin with a dot, are every object's.
of_static() { "$nm" --extern-only --defined-only "$1" | awk 'NF == 3 && $3 !~ /^\./ { print $3 }' | sort; }
# Without comments, and from the whole of each declaration its name.
of_header() {
  "${CC:-cc}" ${SYSROOT:+--sysroot="$SYSROOT"} -E -P -x c "$1" | tr '\n' ' ' | grep -oE '\buly_[a-z0-9_]+ *\([^*]' |
    sed 's/ *(.*//' | sort
}

if [ "${1:-}" = --update ]; then
  of_shared "$2" >"$3"
  exit
fi

shared=$1 static=$2 header=$3 list=$4 failed=0

# compare NAME NAMES: one a line.
compare() {
  diff --label data/symbols.txt --label "$1" -u0 "$list" - <<<"$2" || failed=1
}

compare "$shared" "$(of_shared "$shared")"
compare "$static" "$(of_static "$static")"
compare "$header" "$(of_header "$header")"

soname=$(readelf -d "$shared" | sed -n 's/.*soname: \[\(.*\)\]/\1/p')
versions=$("$nm" -D --defined-only "$shared" | sed -n 's/.*@@//p' | sort -u)
if [ "ULYSSES_${soname##*.}" != "$versions" ]; then
  echo "the soname is $soname, but the symbols' version is $versions"
  failed=1
fi

if [ $failed -ne 0 ]; then
  cat <<END

A new function: declare it in include/ulysses.h, then
  tests/symbols.sh --update $shared $list
A function that is gone, or takes other arguments, breaks programs that are linked already: ULY_SOVERSION in
cmake/library.cmake and the name in cmake/ulysses.map must go up by one, too.
END
  exit 1
fi
echo "$(wc -l <"$list") names in $soname, the static library and the header"
