#!/usr/bin/perl
my $rank = fork;
exec 'sleep', '1000' unless $rank;
$SIG{USR1} = sub {
  kill 'KILL', $rank;
  waitpid $rank, 0;
  open my $file, '>', 'ended';
  close $file;
  sleep 2;
  exit 75;
};
open my $file, '>', 'begun';
close $file;
sleep 1 for 1 .. 1000;
