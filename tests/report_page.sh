#!/bin/bash
# Tests `ulysses report`: the elements of its pages, from sample metrics and from a real run; names
# that are HTML; and its answers to bad input. If chromium is installed, it also shows a page, and
# says how large every plot is.
#   report_page.sh ULYSSES MPIRUN
set -uo pipefail
program=$1
mpirun=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
mkdir tmp
export TMPDIR=$folder/tmp # starters of Open MPI that share one trip over each other
failed=0

figures=(loss throughput peak-share memory traffic wait-share gradient-norm learning-rate eval-by-position)

fail() {
  echo "FAILED: $*"
  failed=1
}

# expect CODE TEXT COMMAND...: the exit code, and one line of error with this text.
expect() {
  local code=$1 text=$2 got errors
  shift 2
  timeout 600 "$@" >out.log 2>err.log </dev/null
  got=$?
  errors=$(grep -c 'ulysses: error:' err.log)
  if [ $got -ne "$code" ] || { [ "$code" -ne 0 ] && { [ "$errors" -ne 1 ] || ! grep -q -- "$text" err.log; }; }; then
    fail "$*: exit code $got (expected $code), $errors messages (expected '$text'):"
    cat err.log
  fi
}

# figure PAGE ID: its lines.
figure() { sed -n "/<figure id=\"$2\">/,/<\/figure>/p" "$1"; }

# check_page PAGE EMPTY...: a whole page that needs nothing else, with all figures; those named have no plot.
check_page() {
  local page=$1 id text
  shift
  [ "$(head -n 1 "$page")" = '<!DOCTYPE html>' ] || fail "$page: not a page"
  [ "$(tail -n 1 "$page")" = '</html>' ] || fail "$page: not whole"
  [ "$(grep -c '<figure id="[a-z-]*">' "$page")" -eq ${#figures[@]} ] || fail "$page: another number of figures"
  for id in "${figures[@]}"; do
    text=$(figure "$page" "$id")
    if [ -z "$text" ]; then
      fail "$page: no figure $id"
    elif [[ " $* " == *" $id "* ]]; then
      if [[ $text == *'<svg'* ]] || [[ $text != *'Nothing to show'* ]]; then fail "$page: $id is not said to be empty"; fi
    else
      check_plot "$page" "$id" "$text"
    fi
  done
  # Ids: each once, and what is referred to is there.
  grep -o "[ ]id=[\"'][^\"']*" "$page" | sed "s/.*[\"']//" | sort >ids
  [ -z "$(uniq -d ids)" ] || fail "$page: ids that are there twice: $(uniq -d ids)"
  grep -oE "href=[\"']#[^\"']*|url\(#[^)]*" "$page" | sed 's/.*#//' | sort -u | comm -23 - ids >missing
  [ -s missing ] && fail "$page: no element has these ids: $(cat missing)"
  # Nothing is fetched, nothing runs.
  if sed 's|xmlns\(:[a-z]*\)\?="http://www.w3.org/[0-9a-z/]*"||g' "$page" | grep -qE 'https?:|src=|@import|<script|<link|<iframe'; then
    fail "$page: fetches or runs something"
  fi
  check_syntax "$page"
}

# A curve is a path of many points that are not all at one height, a bar a polygon with an area.
least=20 # wide, of 900
check_plot() {
  local page=$1 id=$2 text=$3
  [ "$(grep -c '<svg ' <<<"$text")" -eq 1 ] || fail "$page: $id has no plot"
  grep -q "<p class=\"finding\">.*[0-9].*</p>" <<<"$text" || fail "$page: $id says nothing"
  grep -q '<ul class="legend">' <<<"$text" || fail "$page: $id has no legend"
  tr '\n\t' '  ' <<<"$text" | sed 's/<path/\n<path/g; s/<polygon/\n<polygon/g' | awk '
    { shape = ""; is_bar = /^<polygon/
      if (match($0, /^<path[^>]* d=[\047"][^\047"]*/) && !/class="gridline"/) shape = substr($0, RSTART, RLENGTH)
      if (is_bar && match($0, /points *= *[\047"][^\047"]*/)) shape = substr($0, RSTART, RLENGTH)
      sub(/.*[\047"]/, "", shape)
      gsub(/[A-Za-z]/, " ", shape)
      num = split(shape, points, " ")
      low_x = low_y = 1e9; high_x = high_y = -1e9
      for (i = 1; i <= num; i++) {
        split(points[i], p, ",")
        if (p[1] < low_x) low_x = p[1]
        if (p[1] > high_x) high_x = p[1]
        if (p[2] < low_y) low_y = p[2]
        if (p[2] > high_y) high_y = p[2]
      }
      if (num >= 4 && high_x - low_x > least && (high_y - low_y > 5 || is_flat)) found = 1 }
    END { exit !found }' least="$least" is_flat="$([ "$id" = wait-share ] && echo 1 || echo 0)" || fail "$page: $id has neither curve nor bar"
}

# Each tag is closed by its own, in order; drawings are XML, where there is a program to ask.
check_syntax() {
  perl -0777 -n - "$1" <<'END' || fail "$1: tags that do not match"
    my @open;
    while (/<(\/?)([a-zA-Z][\w:-]*)(?:[^>"']|"[^"]*"|'[^']*')*?(\/?)>/g) {
      my ($closes, $name, $is_whole) = ($1, $2, $3);
      if (!$closes) {
        push @open, $name unless $is_whole || $name =~ /^(?:meta|br)$/;
        next;
      }
      my $begun = pop @open // 'nothing';
      die "</$name> where the end of $begun is due\n" if $name ne $begun;
    }
    die "open at the end: @open\n" if @open;
END
  # Each drawing is a document of XML by itself.
  if command -v xmllint >/dev/null; then
    sed -n '/<svg /,/<\/svg>/p' "$1" | awk 'BEGIN { print "<all>" } { print } END { print "</all>" }' >drawings.xml
    xmllint --noout drawings.xml || fail "$1: drawings that are not XML"
  fi
}

# check_in_browser PAGE NUMBER: so many drawings, each with an area and shapes within it, and nothing wider than the page.
check_in_browser() {
  local page=$1 number=$2 seen
  command -v chromium >/dev/null || { echo "no chromium: $page was not shown"; return; }
  sed '/http-equiv="Content-Security-Policy"/d; s|</body>|<script>\
    const area = e => { const r = e.getBoundingClientRect(); return r.width > 200 \&\& r.height > 60; };\
    const inked = e => [...e.querySelectorAll("path, polygon, rect, text")].some(x => x.getBoundingClientRect().width > 40);\
    const drawn = [...document.querySelectorAll("figure svg")].filter(e => area(e) \&\& inked(e));\
    const fits = document.documentElement.scrollWidth <= innerWidth;\
    document.title = "seen " + drawn.length + " of " + document.querySelectorAll("figure").length + " fits " + fits;\
    </script></body>|' "$page" >shown.html
  timeout 600 chromium --headless --no-sandbox --disable-gpu --user-data-dir="$folder/chromium" --window-size=1000,800 \
    --dump-dom "file://$folder/shown.html" >dom.html 2>chromium.log || { echo "chromium does not run here"; return; }
  seen=$(sed -n 's|.*<title>\(seen[^<]*\)</title>.*|\1|p' dom.html)
  [ "$seen" = "seen $number of ${#figures[@]} fits true" ] || fail "$page in a browser: '$seen', expected $number plots"
}

# ---------------------------------------------------------------- sample metrics

cp -r "$ULY_TEST_DATA/report/first" "$ULY_TEST_DATA/report/second" .
report=("$program" report)

expect 0 '' "${report[@]}" first second
grep -qx 'report.html: 2 runs' out.log || fail "what was written: $(cat out.log)"
check_page report.html
check_in_browser report.html 9
text=$(<report.html)
for part in '<b>second</b>: the last line of the metrics is incomplete' '<b>second</b>: 3 lines are left out' \
  '<b>second</b>: 1 step was skipped' '<b>second</b>: 1 step has no finite loss' 'text &amp; more.txt' \
  '<b>second</b>: earlier steps ran on a different number' 'Lowest loss on held-out data: 2.401 nats per token' 'llama-1m</td><td class="number">2</td>' \
  'Without <b>second</b>: this needs metrics with <code>arena_bytes'; do
  [[ $text == *"$part"* ]] || fail "a page without '$part'"
done
[ "$(grep -c '<tr class="differs">' report.html)" -eq 2 ] || fail "not seq_len and out alone differ"
grep -q '<tr class="differs">.*run.seq_len.*128.*256' report.html || fail "a difference that is not marked"

# One without what plots need; the same from its file of metrics, beside which nothing belongs to it.
expect 0 '' "${report[@]}" second --out one.html
check_page one.html peak-share memory eval-by-position
check_in_browser one.html 6
mkdir lone
cp second/metrics.jsonl lone/any.jsonl
cp second/config.yaml lone
expect 0 '' "${report[@]}" lone/any.jsonl --out=lone.html
check_page lone.html peak-share memory eval-by-position
grep -q 'no run has a <code>config.yaml' lone.html || fail "a configuration of nobody knows whom"
echo '{"step":3}' >lone/any.jsonl
expect 0 '' "${report[@]}" lone/any.jsonl --out bare.html
check_page bare.html "${figures[@]}"
# A pipeline has one more.
mkdir stages
awk '{ sub(/"wait_s"/, "\"bubble\":0." 20 + NR % 7 ",\"wait_s\""); print }' first/metrics.jsonl >stages/metrics.jsonl
expect 0 '' "${report[@]}" first stages --out stages.html
text=$(figure stages.html bubble)
[[ $text == *'Without <b>first</b>: this needs metrics with <code>bubble'* ]] || fail "no bubble of a pipeline"
check_plot stages.html bubble "$text"
# One step is no curve, but a plot.
head -n 1 first/metrics.jsonl >lone/any.jsonl
expect 0 '' "${report[@]}" lone/any.jsonl --out step.html
check_in_browser step.html 8
# More runs than colors, and than dashes.
runs=()
for i in $(seq 24); do
  cp -r first "run-$i"
  runs+=("run-$i")
done
expect 0 '' "${report[@]}" "${runs[@]}" --out many.html
check_page many.html
check_in_browser many.html 9
expect 2 '25 runs' "${report[@]}" "${runs[@]}" first

# Names that mean something to HTML, to gnuplot, to the shell.
mkdir parent
# shellcheck disable=SC2016
names=('<script>alert(1)<' "q'; system('touch owned') #" 'a`touch owned`$(touch owned)' $'new\nline $parts << END' '"q" \ & <b>' 'ünïcode')
for name in "${names[@]}"; do cp -r first "$name"; done
printf 'run:\n  model: "</td><script>x</script>"\n  "<i>": &a "\\e[1m"\n' >"${names[0]}/config.yaml"
expect 0 '' "${report[@]}" "${names[@]}" --out names.html
check_page names.html
check_in_browser names.html 9
[ ! -e owned ] || fail "a name was run"
grep -q '<b>&lt;script&gt;alert(1)&lt;</b>' names.html || fail "a name that is not there"
grep -q 'ünïcode' names.html || fail "a name in UTF-8 that is not there"
printf 'a: [\n' >"${names[0]}/config.yaml"
expect 0 '' "${report[@]}" "${names[0]}" --out names.html
grep -q 'config.yaml cannot be read: line' names.html || fail "a damaged config.yaml is not told"
# Two runs of one name go by their paths.
cp -r first parent/first
expect 0 '' "${report[@]}" first parent/first/ --out same.html
if ! grep -q '</span>first</li>' same.html || ! grep -q '</span>parent/first/</li>' same.html; then
  fail "two runs of one name"
fi

# ---------------------------------------------------------------- bad input

expect 3 'nowhere' "${report[@]}" first nowhere
expect 3 'has no metrics.jsonl' "${report[@]}" parent
: >lone/any.jsonl
expect 3 'lone/any.jsonl.*no step' "${report[@]}" lone/any.jsonl
printf '{"step":1}\n{"step":2,"loss":\n{"step":3}\n' >lone/any.jsonl
expect 3 'lone/any.jsonl., line 2: ' "${report[@]}" lone/any.jsonl
expect 3 'not a regular file' "${report[@]}" /dev/zero
expect 3 'no/such/page.html' "${report[@]}" first --out no/such/page.html
expect 3 'No space left' "${report[@]}" first --out /dev/full
expect 2 'is the metrics file' "${report[@]}" first --out first/metrics.jsonl
cmp first/metrics.jsonl "$ULY_TEST_DATA/report/first/metrics.jsonl" || fail "metrics were overwritten"
mkdir bin
expect 1 'gnuplot-nox' env PATH="$folder/bin" "${report[@]}" first --out none.html
printf '#!/bin/sh\necho "line 0: will not" >&2\nexit 1\n' >bin/gnuplot
chmod +x bin/gnuplot
expect 1 "could not draw the plot 'loss'.*will not" env PATH="$folder/bin" "${report[@]}" first --out none.html
[ ! -e none.html ] || fail "a page without plots"

# ---------------------------------------------------------------- a real run

seq 1 2000 | tr '\n' ' ' >text.txt
head -c 1500 text.txt >held_out.txt
cat >tiny.json <<'END'
{"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 257, "max_position_embeddings": 4096}
END
expect 0 '' "$mpirun" -n 2 "$program" train --model tiny.json --data text.txt --eval-data held_out.txt --seq-len 128 \
  --steps 40 --eval-every 10 --eval-windows 4 --warmup 4 --lr 1e-2 --out real --save-every 20 --metrics real/metrics.jsonl
expect 0 '' "$mpirun" -n 3 "$program" report real --out real.html
least=0 # a small model's arenas are little beside the process, or nothing beside that of a sanitizer
[ "$(cat out.log)" = 'real.html: 1 run' ] || fail "on 3 ranks: $(cat out.log)"
check_page real.html
check_in_browser real.html 9
for part in 'tiny.json</td><td class="number">2</td><td class="number">40</td>' '2 checkpoints, the newest of step 40'; do
  grep -q -- "$part" real.html || fail "a page of a real run without '$part'"
done
expect 3 'nowhere' "$mpirun" -n 3 "$program" report nowhere

[ $failed -eq 0 ] && echo "all as expected"
exit $failed
