#!/usr/bin/perl
# Checks that every program which a script of this tree calls is there after scripts/install-deps.sh
# on a bare Debian: it comes with Debian's required packages, with make or git, or with a package
# that install-deps.sh names or that such a package depends on. Programs that a script asks for with
# `command -v NAME` are its own affair. The scripts are those of .ci, bench, scripts, tests and
# tools, and the recipes of the Makefile. Commands are found as a shell finds them; what variables
# hide from this test, it passes over.
#
#   tests/check_commands.pl              checks the tree
#   tests/check_commands.pl --self-test  checks that each kind of breach is found, and nothing else
use strict;
use warnings;
use File::Basename qw(basename dirname);
use File::Find;
use File::Spec;

# The flag of install-deps.sh that brings what a script needs; none for the others.
my %set_of = (
  '.ci/run' => '--ci',
  'bench/hosts.sh' => '--ci',
  'scripts/fuzz.sh' => '--ci',
  'scripts/fresh-machine.sh' => '--ci',
  'scripts/aarch64.sh' => '--aarch64',
  'Makefile: format' => '--ci',
  'Makefile: golden' => '--reference',
  'Makefile: references' => '--reference',
  'tools/compare_with_transformers.py' => '--reference',
  'tools/make_golden.py' => '--reference',
  'tools/make_hf_golden.py' => '--reference',
  'tools/make_rope_golden.py' => '--reference',
  'tools/make_smollm2.py' => '--reference',
);

my %is_builtin = map { $_ => 1 } qw(. : [ alias bg break builtin cd command compgen complete
  continue declare echo eval exec exit export false fg getopts hash jobs kill let local mapfile popd
  printf pushd pwd read readonly return set shift shopt source test times trap true type typeset
  ulimit umask unset wait);
my %is_keyword = map { $_ => 1 } qw(if then elif else fi while until do done { } ! time esac);

# Commands whose arguments are a command: how many words go before it, and which options take a
# word.
my %wrapper = (
  chroot => [1], command => [0], env => [0, '-u'], exec => [0], nice => [0, '-n'], nohup => [0],
  setpriv => [0], sudo => [0], timeout => [1, '-s', '-k'], unshare => [0],
  xargs => [0, '-n', '-P', '-d', '-I', '-a', '-L'],
  # Functions of the tests.
  damaged => [1], examined => [1], expect => [2], judge => [3], same => [1],
);

# ---------------------------------------------------------------- what a script calls

# One script at a time: its text with pos() as the place in it, the commands found with their lines,
# its functions, and what it asks for.
my ($text, %calls, %functions, %asked);
my $assignment = qr/\w+(?:\[\w+\])?\+?=/;
our (@heredocs, $closing);

sub line_number { 1 + (substr($text // '', 0, pos($text) // 0) =~ tr/\n//) }

# Parses a text that is a part of the script's.
sub parse_text {
  my ($part) = @_;
  my ($outer, $place) = ($text, pos $text);
  local @heredocs = ();
  $text = $part;
  pos($text) = 0;
  parse_list('');
  $text = $outer;
  pos($text) = $place;
}

# Passes over what is between here and the closing bracket, but for commands in it.
sub skip_to {
  my ($open, $close) = @_;
  my $depth = 1;
  while ($depth > 0 && $text =~ /\G./gcs) {
    my $c = $&;
    if ($c eq '\\') { $text =~ /\G./gcs }
    elsif ($c eq "'" && $open ne '"') { $text =~ /\G[^']*'/gcs }
    elsif ($c eq '"' && $open ne '"') { skip_to('"', '"') }
    elsif ($c eq $close) { $depth-- }
    elsif ($c eq $open) { $depth++ }
    elsif ($c eq '$') { expand() }
    elsif ($c eq '`') { parse_list('`') }
  }
}

# Behind a $.
sub expand {
  if ($text =~ /\G\(\(/gc) { skip_to('(', ')'); $text =~ /\G\)/gc }
  elsif ($text =~ /\G\(/gc) { parse_list(')') }
  elsif ($text =~ /\G\{/gc) { skip_to('{', '}') }
  elsif ($text =~ /\G'(?:[^'\\]|\\.)*'/gcs) { }
}

# Returns the next word without its quotes, or undef where it depends on a variable; and whether
# there was one.
sub next_word {
  my ($word, $is_known, $start) = ('', 1, pos $text);
  return ($1, 1) if $text =~ /\G"?\$\{\w+:-([\w.-]+)\}"?(?=[\s;|&)])/gc;
  while (1) {
    if ($text =~ /\G[^\s;|&<>()\\'"`\$]+/gc) { $word .= $& }
    elsif ($text =~ /\G\\(.)/gcs) { $word .= $1 if $1 ne "\n" }
    elsif ($text =~ /\G'([^']*)'/gc) { $word .= $1 }
    elsif ($text =~ /\G"/gc) {
      my $begin = pos $text;
      skip_to('"', '"');
      my $inner = substr $text, $begin, pos($text) - $begin - 1;
      $is_known = 0 if $inner =~ /[\$`]/;
      $word .= $inner;
    }
    elsif ($text =~ /\G\$/gc) { $is_known = 0; expand() }
    elsif ($closing ne '`' && $text =~ /\G`/gc) { $is_known = 0; parse_list('`') }
    elsif ($text =~ /\G[<>]\(/gc) { $is_known = 0; parse_list(')') }
    elsif ($word =~ /^$assignment$/ && $text =~ /\G\(/gc) { skip_to('(', ')') }
    else { last }
  }
  $is_known = 1 if $word =~ /^$assignment/;
  return ($is_known ? $word : undef, pos($text) > $start);
}

sub skip_blanks { 1 while $text =~ /\G(?:[ \t]+|\\\n|#[^\n]*)/gc }

# The texts that the line has promised with <<.
sub read_heredocs {
  for my $document (splice @heredocs) {
    my ($end, $is_quoted, $is_indented) = @$document;
    my $tabs = $is_indented ? "\t*" : '';
    $text =~ /\G(.*?)^$tabs\Q$end\E$/gcms or next;
    my $body = $1;
    if ($body =~ m{^#!\s*(\S+)}) { call_interpreter($body) }
    elsif (!$is_quoted) { parse_text(":\n: \"" . $body =~ s/"/\\"/gr . "\"\n") }
  }
}

sub call { my ($name) = @_; $calls{$name} //= line_number() }

sub call_interpreter {
  my ($script) = @_;
  my ($interpreter) = $script =~ m{^#!\s*(?:\S*/env\s+)?(\S+)};
  call(basename $interpreter);
  parse_text($script) if $interpreter =~ /sh$/;
}

# The command that these words are, and those that it starts in its turn.
sub take_command {
  my @words = @_;
  while (@words) {
    shift @words while @words && defined $words[0] && $words[0] =~ /^$assignment/;
    my $name = shift @words;
    return if !defined $name || $name eq '';
    if ($name eq 'command' && @words && ($words[0] // '') =~ /^-[vV]$/) {
      $asked{$_} = 1 for grep { defined } @words[1 .. $#words];
      return;
    }
    call($name) if $name !~ m{/};
    parse_text($words[0]) if $name =~ /^(?:trap|eval)$/ && defined $words[0];
    parse_text($words[1])
      if $name =~ /^(?:ba)?sh$/ && ($words[0] // '') =~ /^-\w*c$/ && defined $words[1];
    if ($name eq 'find') {
      while (@words) { return take_command(@words) if (shift(@words) // '') =~ /^-exec(?:dir)?$/ }
    }
    my $wrapped = $wrapper{$name} or return;
    my ($positions, @with_word) = @$wrapped;
    return if $name eq 'expect' && ($words[0] // 0) =~ /\D/; # of another kind
    while (@words && ($words[0] // '') =~ /^-/) {
      my $option = shift @words;
      return if $option eq '--' ? !@words : 0;
      shift @words if grep { $_ eq $option } @with_word;
    }
    splice @words, 0, $positions;
  }
}

# The patterns and commands of a `case`, behind its `in`.
sub parse_case {
  while (1) {
    1 while $text =~ /\G(?:\s+|#[^\n]*|;;&?|;&)/gc;
    return if $text =~ /\Gesac\b/gc || $text =~ /\G\z/gc;
    $text =~ /\G\(/gc;
    while ($text !~ /\G\s*\)/gc) {
      $text =~ /\G[\s|]+/gc;
      my (undef, $is_there) = next_word();
      return if !$is_there && $text !~ /\G./gcs;
    }
    parse_list(';;');
  }
}

# Commands up to a bracket, a back quote, `;;` or the end of the text.
sub parse_list {
  my ($end) = @_;
  local $closing = $end;
  my @words;
  my $is_first = 1;
  my $finish = sub { take_command(@words); @words = (); $is_first = 1 };
  while (1) {
    skip_blanks();
    if ($text =~ /\G\z/gc) { $finish->(); return }
    if ($end eq ';;' && $text =~ /\G(?=;;|;&)/gc) { $finish->(); return }
    if ($end eq ';;' && $is_first && $text =~ /\G(?=esac\b)/gc) { return }
    if ($end ne '' && $end ne ';;' && $text =~ /\G\Q$end\E/gc) { $finish->(); return }
    if ($text =~ /\G\n/gc) { $finish->(); read_heredocs(); next }
    if ($text =~ /\G<<(-?)\s*(['"\\]?)(\w+)['"]?/gc) {
      push @heredocs, [$3, $2 ne '', $1 ne ''];
      next;
    }
    # Redirections, but <( and >(, which are words.
    if ($text =~ /\G\d*(?:<<<|[<>]&|&>>?|>>|<>|>\||[<>](?!\())[ \t]*/gc) { next_word(); next }
    if ($is_first && $text =~ /\G\(\(/gc) { skip_to('(', ')'); $text =~ /\G\)/gc; next }
    if ($text =~ /\G(?:;|\|\|?&?|&&?)/gc) { $finish->(); next }
    if ($is_first && $text =~ /\G\(/gc) { parse_list(')'); next }
    if ($is_first && $text =~ /\G(?:function\s+)?([\w-]+)[ \t]*\([ \t]*\)/gc) {
      $functions{$1} = 1;
      next;
    }
    if ($is_first && $text =~ /\G\[\[(?=\s)/gc) {
      # What is in there are words, and brackets of its own.
      while ($text !~ /\G\s*\]\](?=[\s;)]|\z)/gc) {
        $text =~ /\G[\s<>&|()!;]+(?<!\]\])/gc;
        my (undef, $is_there) = next_word();
        last if !$is_there && $text !~ /\G./gcs;
      }
      next;
    }
    if ($is_first && $text =~ /\G(?:for|select)\s+/gc) {
      if ($text =~ /\G\(\(/gc) { skip_to('(', ')'); $text =~ /\G\)/gc }
      else { while (skip_blanks(), (next_word())[1]) { } }
      next;
    }
    if ($is_first && $text =~ /\Gcase\s+/gc) {
      next_word();
      $text =~ /\G\s*in\b/gc;
      parse_case();
      next;
    }
    my $before = pos $text;
    my ($word, $is_there) = next_word();
    if (!$is_there) { $text =~ /\G./gcs or return; next }
    next if $is_first && defined $word && $is_keyword{$word} && substr($text, $before, 1) !~ /['"]/;
    $is_first = 0;
    push @words, $word;
  }
}

# The recipe of each target, as the shell gets it.
sub recipes {
  my ($makefile) = @_;
  my (%value, %recipe, $target);
  $makefile =~ s/\\\n\t?/ /g;
  for (split /\n/, $makefile) {
    if (/^(\w+)\s*[?:]?=\s*(.*)/) { $value{$1} = $2 }
    elsif (/^([\w -]+):(?!=)/) { $target = $1 }
    elsif (s/^\t[@-]*// && defined $target) { $recipe{$target} .= "$_\n" }
  }
  for (values %recipe) {
    s/(?<!\$)\$\((\w+)\)/exists $value{$1} ? $value{$1} : '"$make"'/ge;
    s/(?<!\$)\$\([^)]*\)/"\$make"/g;
    s/\$\$/\$/g;
  }
  return %recipe;
}

# ---------------------------------------------------------------- what packages bring

sub run_lines {
  open my $pipe, '-|', @_ or die "$_[0]: $!\n";
  chomp(my @lines = <$pipe>);
  return @lines;
}

# Returns the names of the programs of a bare Debian, of these packages and of all that they depend
# on.
sub brought_by {
  my (%depends, %providers, @base, %is_in);
  my $format = join '\t', map { "\${$_}" } qw(db:Status-Status Package Essential Priority Provides);
  for (run_lines('dpkg-query', '-W', '-f', $format . '\t${Pre-Depends}, ${Depends}\n')) {
    my ($status, $package, $essential, $priority, $provides, $depends) = split /\t/;
    next if $status ne 'installed';
    push @base, $package if $essential eq 'yes' || $priority eq 'required';
    push @{$providers{$_}}, $package for map { s/[\s(].*//r } split /,\s*/, $provides;
    $depends{$package} = [grep { /\S/ } split /,\s*/, $depends];
  }
  my @left = (@base, 'apt', 'make', 'git', @_);
  while (defined(my $package = shift @left)) {
    next if $is_in{$package} || !$depends{$package};
    $is_in{$package} = 1;
    for my $dependence (@{$depends{$package}}) {
      my @choice = map { s/[\s(:].*//r } split /\s*\|\s*/, $dependence;
      my ($chosen) = grep { $depends{$_} } @choice, map { @{$providers{$_} // []} } @choice;
      push @left, $chosen if defined $chosen;
    }
  }
  my %brought = map { basename($_) => $_ } grep { m{^(?:/usr)?/s?bin/.} }
    run_lines('dpkg-query', '-L', sort keys %is_in);
  # Names such as awk and cc, that several packages would like to have.
  my %path = map { $_ => 1 } values %brought;
  for my $file (glob '/var/lib/dpkg/alternatives/*') {
    open my $handle, '<', $file or next;
    $brought{basename $file} = $file if grep { chomp; m{^/} && $path{$_} } <$handle>;
  }
  return \%brought;
}

# ---------------------------------------------------------------- the check

# Returns a line for each command of a script that nothing brings. Names with an underscore in front
# are functions of bash's completion.
sub breaches {
  my ($name, $script, $brought, $known_functions) = @_;
  (%calls, %asked) = ();
  if ($script =~ /^#!/ && $script !~ /^#!.*sh\b/) { call_interpreter($script) }
  else { parse_text($script) }
  my %is_function = (%$known_functions, %functions);
  return map { "$name: line $calls{$_}: nothing brings '$_'" }
    sort grep { !/^_/ && !$is_builtin{$_} && !$is_function{$_} && !$asked{$_} && !$brought->{$_} }
      keys %calls;
}

# Names of scripts and recipes, with their texts.
sub scripts {
  my %script;
  find({no_chdir => 1, wanted => sub {
    return unless -f;
    open my $handle, '<', $_ or die "$_: $!\n";
    local $/;
    my $content = <$handle>;
    $script{$_} = $content if $content =~ /^#!/ || /\.sh$/;
  }}, grep { -d } qw(.ci bench scripts tests tools));
  open my $handle, '<', 'Makefile' or die "Makefile: $!\n";
  my %recipe = recipes(do { local $/; <$handle> });
  $script{"Makefile: $_"} = $recipe{$_} for keys %recipe;
  return %script;
}

sub check_tree {
  chdir dirname(dirname(File::Spec->rel2abs($0))) or die "$!\n";
  if (grep { !-x "/usr/bin/$_" } 'dpkg-query', 'apt-get') {
    print "NOT CHECKED: this is no Debian\n";
    return 0;
  }
  my (%brought, @found);
  for my $set ('', '--ci', '--reference', '--aarch64') {
    my @flags = grep { $_ } $set;
    next if run_lines('scripts/install-deps.sh', @flags, '--check');
    $brought{$set} = brought_by(run_lines('scripts/install-deps.sh', @flags, '--list'));
  }
  my %script = scripts();
  # First of all the functions, which scripts share.
  parse_text($script{$_}) for grep { /\.sh$/ } sort keys %script;
  my %shared = %functions;
  my $num_calls = 0;
  for my $name (sort keys %script) {
    my $brought = $brought{$set_of{$name} // ''};
    if (!$brought) { print "NOT CHECKED: $name: not all of its packages are installed\n"; next }
    push @found, breaches($name, $script{$name}, $brought, \%shared);
    $num_calls += keys %calls;
  }
  print "$_\n" for @found;
  print "$num_calls commands in ", scalar(keys %script), " scripts, ", scalar(@found),
    " that nothing brings\n";
  print "Name its package in scripts/install-deps.sh, or use what is there.\n" if @found;
  return @found > 0;
}

# Scripts in which a command called 'absent' is found, and some in which there is none.
sub self_test {
  my %brought = map { $_ => 1 } qw(bash cat env find grep perl sed sh sleep timeout xargs);
  my @bad = (
    'absent', 'cat x | absent -y', 'true && absent', '! absent', "A=1 B=\"\$x\" absent",
    '(cd /; absent)', 'if absent; then :; fi', 'while :; do absent; done',
    'for x in a b; do absent; done', 'for ((i = 0; i < 3; i++)); do absent; done',
    'case $x in a | b) absent ;; esac', "case x in\n  *) : ;;\n  y)\n    absent\n    ;;\nesac",
    '[[ $x == *y* ]] && absent', 'f() { absent; }', 'x=$(absent 3)', 'x="a $(absent) b"',
    'x=`absent`', 'x=$((1 + 2)) absent', '[ -n "$(absent)" ]', 'diff() { :; }; diff <(absent) x',
    'cat >file 2>&1; absent', '${TOOL:-absent} x', "true\nabsent <<'END'\nx\nEND",
    "cat <<END\n\$(absent)\nEND", "cat >x <<'END'\n#!/usr/bin/absent\nEND",
    "cat >x <<'END'\n#!/bin/sh\nabsent\nEND", "#!/usr/bin/env absent\nx", "bash -c 'cat x; absent'",
    "trap 'absent' EXIT", 'timeout -s KILL 60 absent', 'env -u A B=1 absent x',
    'xargs -0 -n 1 absent', 'find . -exec absent {} +', "expect 0 '' absent x",
  );
  my @good = (
    '# absent', "cat x | # absent\n  cat", 'cat absent', "cat 'absent; absent'",
    'cat \\' . "\n  absent", 'absent() { :; }; absent', 'x=absent', 'x=(absent absent)',
    '"$absent" x', './absent', 'cat ${x#absent}', 'cat >absent <absent', 'cat <<<absent',
    "cat <<'END'\nabsent\nEND", 'for absent in absent; do cat; done',
    'case absent in absent) cat ;; esac', '[[ absent == absent ]]', 'echo $((absent))',
    '((absent))',
    'if command -v absent >/dev/null; then absent; fi', "perl -e 'absent'",
  );
  my $num_wrong = 0;
  for (map({ [$_, 1] } @bad), map({ [$_, 0] } @good)) {
    my ($script, $expected) = @$_;
    %functions = ();
    my @found = breaches('it', $script, \%brought, {expect => 1});
    next if @found == $expected && (!$expected || $found[0] =~ /'absent'/);
    print "WRONG: ", scalar(@found), " found, expected $expected, in:\n$script\n@found\n";
    $num_wrong++;
  }
  my %recipe = recipes("TOOL ?= absent\nall: x ## y\n\t\@\$(TOOL) \$\$x \$(MAKE)\n\n" .
    "x: y\n\tcat \\\n\t  x\n");
  my @found = map { scalar(my @lines = breaches('it', $recipe{$_}, \%brought, {})) } 'all', 'x';
  if ("@found" ne '1 0') {
    print "WRONG: recipes of a Makefile\n";
    $num_wrong++;
  }
  print @bad + @good + 2, " scripts, $num_wrong wrong\n";
  return $num_wrong > 0;
}

exit((@ARGV && $ARGV[0] eq '--self-test') ? self_test() : check_tree());
