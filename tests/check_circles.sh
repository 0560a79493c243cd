#!/bin/bash
# Tests that no files depend on each other in a circle, so that each can be read with what it is
# built on alone. A file needs another if its object needs a name that the other's object defines. A
# source that is compiled several times, once for each instruction set, is one file.
#
#   check_circles.sh OBJECT...    checks the objects of a build
#   check_circles.sh --self-test  checks that circles are found, and nothing else
set -euo pipefail
export LC_ALL=C

# check OBJECT...: prints each circle with the names that tie it, and a summary; fails when there is
# one.
check() {
  "${NM:-nm}" -P "$@" | awk '
    # Of a path such as build/CMakeFiles/uly_core.dir/src/ops/ops.c.o: src/ops/ops.c
    /:$/ {
      file = $0
      sub(/.*\.dir\//, "", file)
      sub(/\.o:$/, "", file)
      if (!(file in is_known)) files[++num_files] = file
      is_known[file] = 1
      next
    }
    # What several files define, as locks of OpenMP are, belongs to none.
    $2 ~ /^[TDBRVWGSiu]$/ {
      is_shared = ($1 in home) && home[$1] != file
      home[$1] = is_shared ? "" : file
      num_names++
    }
    $2 == "U" { needed[++num_needed] = $1; needer[num_needed] = file }

    # Follows what a file depends on; a file from which nothing leads back to earlier ones ends a
    # circle, or stands alone (Tarjan 1972).
    function visit(file,    i, num, other, others) {
      reached[file] = low[file] = ++num_reached
      stack[++depth] = file
      is_open[file] = 1
      num = split(links[file], others, "\n")
      for (i = 1; i <= num; i++) {
        other = others[i]
        if (!(other in reached)) visit(other)
        if (is_open[other] && low[other] < low[file]) low[file] = low[other]
      }
      if (low[file] == reached[file]) close_circle(file)
    }

    function close_circle(file,    i, j, first, text) {
      for (first = depth; stack[first] != file; first--) {}
      for (i = first; i <= depth; i++) {
        is_open[stack[i]] = 0
        text = text (i > first ? ", " : "") stack[i]
      }
      if (first < depth) {
        num_circles++
        print "circle: " text
        for (i = first; i <= depth; i++)
          for (j = first; j <= depth; j++)
            if ((stack[i], stack[j]) in names)
              print "  " stack[i] " needs" names[stack[i], stack[j]] " of " stack[j]
      }
      depth = first - 1
    }

    END {
      for (i = 1; i <= num_needed; i++) {
        from = needer[i]
        to = needed[i] in home ? home[needed[i]] : ""
        if (to == "" || to == from) continue
        if (!((from, to) in names)) {
          links[from] = links[from] (links[from] == "" ? "" : "\n") to
          num_links++
        }
        if (index(names[from, to] " ", " " needed[i] " ") == 0)
          names[from, to] = names[from, to] " " needed[i]
      }
      if (num_names == 0) { print "no names found: nothing was checked"; exit 1 }
      for (i = 1; i <= num_files; i++) if (!(files[i] in reached)) visit(files[i])
      printf "%d files, %d times one needs another, %d circles\n", num_files, num_links, num_circles
      exit num_circles > 0
    }'
}

# compile NAME CODE [OBJECT]: as one file of the small tree.
compile() { "${CC:-cc}" -x c -c -o "${3:-$1}.o" - <<<"$2"; }

# verdict CIRCLE TEXT OBJECT...: checks the objects; CIRCLE is yes or no, TEXT must be said.
verdict() {
  local is_found=no output text=$2
  output=$(check "${@:3}") || is_found=yes
  [[ $is_found == "$1" && $output == *"$text"* ]] && return
  printf '%s: a circle: %s; expected %s, and "%s"; said:\n%s\n' \
    "${*:3}" $is_found "$1" "$text" "$output"
  exit 1
}

self_test() {
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  cd "$scratch"
  mkdir -p one.dir two.dir
  compile leaf.c 'int leaf(void) { return 1; } int number;'
  compile left.c 'int leaf(void); int left(void) { return leaf(); }'
  compile right.c 'int left(void), leaf(void); int right(void) { return left() + leaf(); }'
  compile top.c 'int left(void), right(void); int top(void) { return left() + right(); }'
  verdict no '4 files, 5 times one needs another, 0 circles' {top,left,leaf,right}.c.o

  compile base.c 'int left(void); int base(void) { return left(); }'
  compile back.c 'int base(void); int leaf(void) { return base(); }'
  verdict yes 'back.c needs base of base.c' {top,right,left,back,base}.c.o
  verdict yes 'left.c needs leaf of back.c' {base,back,left}.c.o
  verdict no '0 circles' {top,right,left,back}.c.o

  # Through a variable, and through more than one name.
  compile up.c 'extern int number, other; int up(void) { return number + other; }'
  compile down.c 'int up(void); int number = 1, other = 2; int down(void) { return up(); }'
  verdict yes 'up.c needs number other of down.c' {up,down}.c.o

  # Sources that are compiled twice, and what is everybody's.
  compile twice.c 'int plain(void); int fast(void) { return plain(); }' one.dir/twice.c
  compile twice.c 'int fast(void); int plain(void) { return fast(); }' two.dir/twice.c
  verdict no '1 files' {one,two}.dir/twice.c.o
  local lock='__attribute__((weak)) int lock;'
  compile one.c "$lock int top(void); int *one(void) { return &lock + top(); }"
  compile two.c "$lock int *top(void) { return &lock; }"
  verdict no '0 circles' {one,two}.c.o

  compile empty.c ''
  verdict yes 'nothing was checked' empty.c.o
  echo "self-test: circles are found, and nothing else"
}

case ${1:-} in
  --self-test) self_test ;;
  '' | -*)
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
  *) check "$@" ;;
esac
