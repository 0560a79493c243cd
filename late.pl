#!/usr/bin/perl
open my $file, '>', 'started'; close $file;
sleep 1;
$SIG{USR1} = sub { exit 75 };
sleep 1 for 1 .. 1000;
exit 1;
