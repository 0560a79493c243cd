#!/bin/bash
# Tests bad data: texts, token shards and folders of these for train, eval and prepare; prompts; the
# metrics of a report; and data that change while they are in use. Each row expects one message, exit
# code 3, and no rank that hangs. Of what each process finds by itself, and in the same way, some rows
# run on several ranks, and the others in one process.
#   bad_data.sh ULYSSES MPIRUN
program=$1
mpirun=$2
# shellcheck source=tests/cli_common.sh
. "$(dirname "$(realpath "$0")")/cli_common.sh"
patience 0

# int32 NUMBER...: little-endian
int32() {
  local n
  for n; do
    # shellcheck disable=SC2059
    printf "$(printf '\\x%02x' $((n & 255)) $((n >> 8 & 255)) $((n >> 16 & 255)) $((n >> 24 & 255)))"
  done
}

# shard MAGIC VERSION COUNT END BYTES BYTE: a header of llm.c, and so many of this byte
u16=(20240520 1) u32=(20240801 7)
shard() {
  int32 "${@:1:4}"
  head -c 1008 /dev/zero
  head -c "$5" /dev/zero | tr '\0' "${6:-\0}"
}

train=("${bare[@]}" --data)
expect 0 '' "$program" "${good[@]}" --out run
eval=(eval --checkpoint run --data)
generate=(generate --checkpoint run --prompt-file)

# --- what is no file, or none that can be read

mkfifo pipe
ln -s nowhere broken
ln -s loop loop
: >empty
mkdir bare parent parent/child dangling looping piped
: >parent/.hidden
ln -s nowhere dangling/link
ln -s loop looping/loop
mkfifo piped/pipe
for flag in --data "--data text.txt --eval-data"; do
  row 3 "'missing': No such file" "${bare[@]}" $flag missing
  lone_row 3 "'broken': No such file" "${bare[@]}" $flag broken
  lone_row 3 "'loop': Too many levels of symbolic links" "${bare[@]}" $flag loop
  lone_row 3 "'text.txt/': Not a directory" "${bare[@]}" $flag text.txt/
  row 3 "'empty' is empty" "${bare[@]}" $flag empty
  lone_row 3 "'pipe' is not a regular file" "${bare[@]}" $flag pipe
  lone_row 3 "'/dev/zero' is not a regular file" "${bare[@]}" $flag /dev/zero
  row 3 "'bare' has no regular files" "${bare[@]}" $flag bare
done
lone_row 3 "'parent' has no regular files" "${train[@]}" parent
lone_row 3 "'link' in the folder 'dangling': No such file" "${train[@]}" dangling
lone_row 3 "'loop' in the folder 'looping': Too many levels" "${train[@]}" looping
lone_row 3 "'piped' has no regular files" "${train[@]}" piped

for what in missing broken loop text.txt/; do
  row 3 "'$what'" "${eval[@]}" $what
  row 3 "'$what'" "${generate[@]}" $what
  row 3 "'$what'" prepare $what --out prepared-@
done
row 3 "'empty' is empty" "${eval[@]}" empty
lone_row 3 "'empty' is empty" "${generate[@]}" empty
lone_row 3 "'pipe' is not a regular file" "${eval[@]}" pipe
lone_row 3 "'pipe' is not a regular file" "${generate[@]}" pipe
lone_row 3 "'/dev/zero' is not a regular file" "${generate[@]}" /dev/zero
lone_row 3 "'bare' has no regular files" "${eval[@]}" bare
row 3 "'bare' is a folder" "${generate[@]}" bare
truncate -s 4097M endless
lone_row 3 "'endless' has 4296015872 bytes, but at most 4294967296 are read" "${generate[@]}" endless
lone_row 3 "no text in 1 file" prepare empty --out prepared-@
lone_row 3 "no text in 0 files" prepare bare --out prepared-@
lone_row 3 "'dangling/link' is a symbolic link to nothing" prepare dangling --out prepared-@
lone_row 3 "'looping/loop'" prepare looping --out prepared-@
for what in missing broken loop text.txt/; do
  row 3 "'$what'" report $what
done
lone_row 3 "'pipe' is not a regular file" report pipe
lone_row 3 "'/dev/zero' is not a regular file" report /dev/zero
lone_row 3 "'bare' has no metrics.jsonl" report bare
lone_row 3 "'empty' holds no step" report empty

if [ $has_permissions = yes ]; then
  echo secret >secret
  mkdir locked
  cp text.txt locked
  chmod 000 secret locked
  row 3 "'secret': Permission denied" "${train[@]}" secret
  lone_row 3 "'locked': Permission denied" "${train[@]}" locked
  lone_row 3 "'secret' cannot be opened: Permission denied" "${train[@]}" text.txt --config secret
  lone_row 2 "'secret' is neither a preset .*Permission denied" "${train[@]}" text.txt --model secret
  row 3 "'secret': Permission denied" "${eval[@]}" secret
  lone_row 3 "'secret' .*Permission denied" "${generate[@]}" secret
  lone_row 3 "'secret': Permission denied" prepare secret --out prepared-@
  lone_row 3 "'locked': Permission denied" prepare locked --out prepared-@
  lone_row 3 "'secret' .*Permission denied" report secret
fi

# --- too short

head -c 63 text.txt >short
head -c 64 text.txt >enough
row 3 "'short' has 64 tokens, but one sequence of --seq-len 64 needs 65" "${train[@]}" short
row 0 '' "${train[@]}" enough
row 3 "'short' has 64 tokens" "${train[@]}" text.txt --eval-data short
row 3 "'text.txt' has 3001 tokens, but .* --seq-len 4096" "${train[@]}" text.txt --seq-len 4k
row 3 "'short' has 64 tokens" "${eval[@]}" short

# --- token shards: truncated, too long, damaged headers

shard "${u16[@]}" 256 0 512 >good16
shard "${u32[@]}" 256 0 1024 >good32
row 0 '' "${train[@]}" good16
row 0 '' "${train[@]}" good32

# bytes NAME TEXT: standard input as data
bytes() {
  cat >"$1"
  $how 3 "'$1'.* $2" "${train[@]}" "$1"
}
how=row
bytes cut-4 'is truncated: a shard begins with 1024 bytes of header, but the file has only 4' < <(head -c 4 good16)
how=lone_row
bytes cut-1023 'is truncated: a shard begins with 1024 bytes of header' < <(head -c 1023 good16)
bytes cut-1024 'is truncated: its header promises 256 tokens' < <(head -c 1024 good16)
bytes cut-1535 'is truncated: its header promises 256 tokens, which is 1536 bytes' < <(head -c 1535 good16)
bytes cut-2047 'is truncated: its header promises 256 tokens, which is 2048 bytes' < <(head -c 2047 good32)
bytes long16 'is too long: its header promises 256 tokens' < <(shard "${u16[@]}" 256 0 513)
bytes long32 'is too long: its header promises 256 tokens' < <(shard "${u32[@]}" 256 0 1028)
bytes huge16 'is truncated: its header promises 2147483647 tokens' < <(shard "${u16[@]}" 2147483647 0 512)
bytes negative16 'has a damaged header: its token count is -1' < <(shard "${u16[@]}" -1 0 512)
bytes negative32 'has a damaged header: its token count is -2147483648' < <(shard "${u32[@]}" -2147483648 0 512)
bytes none16 'holds no tokens' < <(shard "${u16[@]}" 0 0 0)
bytes version16 'has version 2 in its header' < <(shard 20240520 2 256 0 512)
bytes version32 'has version 1 in its header' < <(shard 20240801 1 256 0 1024)
bytes end16 'damaged header: it says that token 65536 ends documents' < <(shard "${u16[@]}" 256 65537 512)
bytes end32 'damaged header: it says that token -2 ends documents' < <(shard "${u32[@]}" 256 -1 1024)

# --- what is no text

seq 1 400 >numbers
iconv -f UTF-8 -t UTF-16LE numbers >utf16
gzip <numbers >packed
for ((i = 0; i < 300; i++)); do
  # shellcheck disable=SC2059
  printf "$(printf '\\x%02x\\x%02x' $((i * 7919 % 256)) $((i * 31 % 197)))"
done >bare16
{ printf '\xef\xbb\xbf' && cat numbers; } >marked
lone_row 3 "'utf16' is text in UTF-16, not plain text: write it as UTF-8 first (iconv -f UTF-16LE.*any.bytes takes" "${train[@]}" utf16
lone_row 3 "'packed' is compressed by gzip, not plain text: decompress it first" "${train[@]}" text.txt --eval-data packed
lone_row 3 "'packed' is compressed by gzip" "${train[@]}" packed --dry-run
row 3 "'bare16' holds numbers.*header of a token shard" "${train[@]}" bare16
lone_row 3 "'bare16' holds numbers" "${eval[@]}" bare16
lone_row 3 "'marked' begins with a byte-order mark" "${train[@]}" marked
lone_row 3 "'utf16' is text in UTF-16.*any.bytes takes" prepare utf16 --out prepared-@
lone_row 3 "'packed' is compressed by gzip" prepare --documents jsonl --skip-bad packed --out prepared-@
row 0 '' "${train[@]}" bare16 --any-bytes
row 0 '' "${eval[@]}" packed --any-bytes
expect 0 '' "$program" prepare marked --out without-mark
grep -q " $(($(wc -c <numbers) + 1)) tokens" out.log || fail "a byte-order mark is not left out: $(cat out.log)"
expect 0 '' "$program" prepare marked --out with-mark --any-bytes
grep -q " $(($(wc -c <numbers) + 4)) tokens" out.log || fail "a byte-order mark is left out: $(cat out.log)"
# Text in any code of 8 bits is text, with a stray control character too.
{ seq 1 400 && printf '\x00\xe4\xf6\xfc' && iconv -f UTF-8 -t ISO-8859-1 <<<'Übergrößenträger äöü ÄÖÜ ß'; } >latin1
row 0 '' "${train[@]}" latin1

# --- folders of more than one kind

mkdir kinds widths ends holed hollow
cp text.txt kinds/b.txt && cp good16 kinds/a.bin
cp good16 widths/a.bin && cp good32 widths/b.bin
cp good16 ends/a.bin && shard "${u16[@]}" 256 7 512 >ends/b.bin
cp good16 holed/a.bin && head -c 1500 good16 >holed/b.bin
: >hollow/a.txt && : >hollow/b.txt
row 3 "'kinds/b.txt' is text, but 'kinds/a.bin' beside it is a shard of uint16" "${train[@]}" kinds
lone_row 3 "'widths/b.bin' is a shard of uint32 tokens, but" "${train[@]}" widths
lone_row 3 "'ends/b.bin' says in its header that token 6 ends documents, but" "${train[@]}" ends
row 3 "'holed/b.bin' is truncated" "${train[@]}" holed
lone_row 3 "'hollow' is empty, as all files of this folder are" "${train[@]}" hollow

# --- tokens beyond the vocabulary, 257

sed 's/257/100/' tiny.json >small.json
lone_row 2 "'text.txt' is text, whose tokens are bytes, but the vocabulary of the model has 100 tokens" "${train[@]}" text.txt --model small.json
lone_row 2 "'text.txt' is text" "${train[@]}" good16 --eval-data text.txt --model small.json
row 2 "'text.txt' is text" "${train[@]}" text.txt --model gpt2-124m --dry-run
how=row # the ranks divide the search among them
bytes beyond16 'token [0-9]* is 257, not below the vocabulary size 257' < <(shard "${u16[@]}" 256 0 512 '\1')
bytes beyond32 'token [0-9]* is 16843009, not below' < <(shard "${u32[@]}" 256 0 1024 '\1')
bytes below32 'token [0-9]* is 4294967295, not below' < <(shard "${u32[@]}" 256 0 1024 '\377')
# The last label of the only sequence.
bytes last16 'token 64 is 257, not below the vocabulary size 257' < <(shard "${u16[@]}" 65 0 128 && printf '\1\1')
row 3 "'last16': token 64 is 257" "${eval[@]}" last16
lone_row 3 "'cut-1535' is truncated" "${eval[@]}" cut-1535
lone_row 3 "'kinds/b.txt' is text" "${eval[@]}" kinds
row 3 "'last16': token 64 is 257" "${train[@]}" text.txt --eval-data last16

# --- documents that are not text in lines of JSON

# lines TEXT CONTENT
lines() {
  printf '%b' "$2" >lines-$num_rows.jsonl
  lone_row 3 "$1" prepare --documents jsonl lines-$num_rows.jsonl --out prepared-@
}
lines 'line 2, column [0-9]*: this is not JSON' '{"text": "a"}\nwords\n'
lines 'line 1: the line is a number, but each line must be an object' '7\n'
lines 'line 2: there is no "text"' '{"text": "a"}\n{"body": "b"}\n'
lines 'line 1: "text" is null' '{"text": null}\n'
lines 'line 1, column [0-9]*: .*duplicate' '{"text": "a", "text": "b"}\n'
lines 'line 1, column [0-9]*: .*unable to decode byte 0xff' '{"text": "\0377"}\n'
lines 'line 1, column [0-9]*: ' '{"text": NaN}\n'
lines 'line 1, column [0-9]*: .*depth' "$(head -c 5000 /dev/zero | tr '\0' '[')\n"
head -c 66M /dev/zero | tr '\0' 'x' >wide.jsonl
lone_row 3 'line 1: the line is longer than 64 MiB' prepare --documents jsonl wide.jsonl --out prepared-@
rows_end
[ -z "$(find prepared-* -type f)" ] || fail "shards of a failure were left: $(find prepared-*)"

# --- metrics that are none

# metrics TEXT CONTENT
metrics() {
  printf '%b' "$2" >metrics-$num_rows.jsonl
  lone_row 3 "$1" report metrics-$num_rows.jsonl
}
line='{"step": 1, "loss": 2.0}'
metrics 'line 1: expected a JSON object' 'words\n'
metrics 'line 1: expected a JSON object' "[]\n$line\n"
metrics "line 2: there is no 'step'" "$line\n{\"loss\": 1}\n"
metrics "line 1: 'step': expected a whole number" '{"step": "one"}\n'
metrics "line 1: 'step': expected a whole number" '{"step": -1}\n'
metrics "line 1: 'step': expected at least 1" '{"step": 0}\n'
metrics "line 1: 'loss': expected a number" '{"step": 1, "loss": "low"}\n'
metrics 'line 1: .*duplicate' '{"step": 1, "step": 2}\n'
metrics 'line 1: ' '{"step": 1, "loss": NaN}\n'
metrics 'line 1: ' '{"step": 99999999999999999999}\n'
metrics 'line 1: ' '\0377\n'
metrics 'line 1: ' "$(head -c 5000 /dev/zero | tr '\0' '[')\n"
lone_row 3 'a line of more than 1048576 bytes' report wide.jsonl
lone_row 3 "page.html' cannot be written: No such file" report run --out nowhere/page.html
lone_row 3 "'run' cannot be written: Is a directory" report run --out run
lone_row 2 "'run/metrics.jsonl' is the metrics file of a run" report run --out run/metrics.jsonl

# --- what a run writes is not what it reads, nor what the next one would read

mkdir shared
cp text.txt shared
cp tiny.json own.json
row 2 "what is written to --out 'shared' would be --data of the next run" "${train[@]}" shared --out shared
row 2 "what is written to --out './shared/' would be --eval-data" "${train[@]}" text.txt --eval-data shared --out ./shared/
lone_row 2 "what is written to --rank-logs 'shared' would be" "${train[@]}" shared --rank-logs shared
lone_row 2 "what is written to --metrics 'shared/new' would be" "${train[@]}" shared --metrics shared/new --dry-run
lone_row 2 "what is written to --trace 'shared/text.txt' would be" "${train[@]}" shared --trace shared/text.txt
lone_row 2 "--metrics './text.txt' is also --data, and would be overwritten" "${train[@]}" text.txt --metrics ./text.txt
lone_row 2 "--trace 'text.txt' is also --data" "${train[@]}" text.txt --trace text.txt
lone_row 2 "--metrics 'own.json' is also --model" "${train[@]}" text.txt --model own.json --metrics own.json
row 0 '' "${train[@]}" shared --out shared/run-@ --dry-run
rows_end
[ "$(ls shared)" = text.txt ] && cmp -s tiny.json own.json && [ "$(wc -c <text.txt)" -eq 3000 ] || fail "data were changed"

# --- data that change while a run goes on

# in_use NAME CHANGE TEXT ARGUMENTS...: a run without end on a copy of NAME, used (as data says), which CHANGE is done to
# once the run is under way
in_use() {
  local ranks name=$1 change=$2 text=$3
  shift 3
  rows_end
  for ranks in 1 3; do
    num_rows=$((num_rows + 1))
    rm -rf used metrics.jsonl
    cp -r "$name" used
    judge used 3 "$text" "$mpirun" -n $ranks "$program" "${bare[@]}" "${data[@]}" --steps 1000000000 --log-every 1000000000 \
      --metrics metrics.jsonl "$@" &
    job=$!
    await test -s metrics.jsonl
    eval "$change"
    wait $job || failed=1
  done
}
data=(--data used)
in_use text.txt 'truncate -s 100 used' "'used' was changed while in use: it had 3000 bytes, and has 100 now"
in_use text.txt 'truncate -s 0 used' "'used' was changed while in use: .* has 0 now"
in_use text.txt 'rm used' "'used': No such file"
in_use text.txt 'mkfifo other-$ranks && mv other-$ranks used' "'used' is not a regular file"
in_use good16 'truncate -s -1 used' "'used' was changed while in use: it had 1536 bytes, and has 1535 now"
in_use good32 'truncate -s 1024 used' "'used' was changed while in use: it had 2048 bytes, and has 1024 now" --pack --doc-end 5
in_use holed/a.bin 'truncate -s 1024 used' "'used' was changed" --zero 3
mkdir two && cp text.txt two/a && cp text.txt two/b
in_use two 'truncate -s 9 used/*' "'used/[ab]' was changed while in use"
in_use two 'rm -r used' "'used/[ab]': No such file"
data=(--data text.txt --eval-data used)
in_use text.txt 'truncate -s 100 used' "'used' was changed" --eval-every 1

finish
