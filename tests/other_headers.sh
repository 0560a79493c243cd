#!/bin/bash
# Tests programs that were compiled with an older or a newer ulysses.h than the library: structs
# that lack their last members, or have one more. The program is tests/other_headers.c; it must
# print the same with each header.
#   other_headers.sh HEADER PROGRAM.c LIBRARY CC [CFLAGS]
set -euo pipefail
header=$1 program=$2 library=$3 cc=$4 cflags=${5:-}
export LC_ALL=C
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# change HOW: the header with its sized structs changed. older: without the last N members of some, the N-th number of
# the list; newer: with a member more in each.
change() {
  awk -v how="$1" '
    BEGIN {
      drop["uly_train_config"] = "rounds"; drop["uly_step_report"] = "wait_seconds"
      drop["uly_attention_desc"] = "scale"; drop["uly_mask"] = "window"
      drop["uly_mesh_desc"] = "ulysses"; drop["uly_plan_report"] = "stash_bytes"
    }
    /^(typedef )?struct uly_[a-z_]+ \{$/ { is_sized = 0; name = $(NF - 1); cut = 0 }
    /^  size_t size;$/ { is_sized = 1 }
    is_sized && how == "older" && name in drop && $0 ~ "^  [a-z].*[ *]" drop[name] "[;,\\[]" { cut = 1 }
    /^}/ && is_sized {
      if (how == "newer") print "  int64_t added_later[3];"
      is_sized = cut = 0
    }
    !cut { print }' "$header"
}

expected=
for how in same older newer; do
  mkdir "$folder/$how"
  if [ $how = same ]; then cp "$header" "$folder/$how/ulysses.h"; else change $how >"$folder/$how/ulysses.h"; fi
  # shellcheck disable=SC2086
  "$cc" -std=c11 -g $cflags -I"$folder/$how" "$program" -o "$folder/$how/program" "$library" -Wl,-rpath,"${library%/*}" -lm
  (cd "$folder/$how" && ./program >said.txt) || { echo "FAILED: the program with the $how header"; exit 1; }
  sizes=$(grep '^size' "$folder/$how/said.txt")
  said=$(grep -v '^size' "$folder/$how/said.txt")
  case $how in
    same) expected=$said same_sizes=$sizes ;;
    *)
      [ "$sizes" != "$same_sizes" ] || { echo "FAILED: the $how header has the same structs"; exit 1; }
      [ "$said" = "$expected" ] || { diff <(echo "$expected") <(echo "$said"); echo "FAILED: $how"; exit 1; }
      ;;
  esac
  printf '%s header: %s\n' $how "$(echo $sizes)"
done

# A member that this library does not know is refused where it is set.
(cd "$folder/newer" && ./program --set-unknown) && { echo "FAILED: an unknown member was accepted"; exit 1; }
echo "$expected"
