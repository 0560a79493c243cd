#!/bin/bash
# Runs the README's first commands on a machine that has nothing: a bare Debian 12 (the minbase of
# debootstrap, with make and git) in a folder, in a clone of the last commit. The script needs root
# and debootstrap. Everything that it mounts and starts is in name spaces of its own and ends with
# it.
#
#   scripts/fresh-machine.sh [COMMAND...]     "make demo" and "make test" by default
#
#   MIRROR=URL      where Debian's packages come from; apt's own sources by default
#   TMPDIR=FOLDER   where the machine is made, /tmp by default; it stays there if a command fails
set -euo pipefail
suite=bookworm

fail() {
  echo "fresh-machine: $*" >&2
  exit 1
}

# find_mirror: prints the first of apt's sources that has this suite.
find_mirror() {
  # $(...) is apt's own syntax.
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    awk -v suite=$suite '$2 == suite { print $1; exit }'
}

# make_machine ROOT MIRROR: makes the machine, with this machine's access to the network.
make_machine() {
  debootstrap --variant=minbase --include=make,git $suite "$1" "$2"
  echo "127.0.0.1 localhost $(uname -n)" >"$1/etc/hosts"
  apt-config dump | grep -E '^Acquire::(https?|Check|Retries)' >"$1/etc/apt/apt.conf.d/90host" ||
    true # none is set
  mount -t proc proc "$1/proc"
  mount --rbind /sys "$1/sys"
  mount --rbind /dev "$1/dev"
}

# inside ROOT COMMAND...: runs the command in the clone, as root would after logging in.
inside() {
  local variable settings=(HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
  for variable in http_proxy https_proxy no_proxy; do
    [ -z "${!variable:-}" ] || settings+=("$variable=${!variable}")
  done
  env -i "${settings[@]}" chroot "$1" /bin/sh -ec 'cd "$HOME/ulysses"; shift; "$@"' sh "$@"
}

if [ "${1:-}" = --in-name-spaces ]; then
  root=$2 mirror=$3
  shift 3
  make_machine "$root" "$mirror"
  git clone --quiet --no-hardlinks . "$root/root/ulysses"
  for command; do
    printf '\n==== on a fresh machine: %s\n' "$command"
    start=$SECONDS
    inside "$root" sh -c "$command" || fail "'$command' failed"
    printf '==== on a fresh machine: %s: passed in %d s\n' "$command" $((SECONDS - start))
  done
  exit
fi

case ${1:-} in
  -h | --help)
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || fail "run this as root: chroot and mounts need it"
command -v debootstrap >/dev/null || fail "debootstrap is missing: run scripts/install-deps.sh --ci"
eval "$(apt-config shell proxy Acquire::http::Proxy)"
export http_proxy=${http_proxy:-${proxy:-}}
mirror=${MIRROR:-$(find_mirror)}
[ -n "$mirror" ] || fail "apt's sources name no mirror of Debian 12 ($suite): set MIRROR to one"
[ $# -gt 0 ] || set -- 'make demo' 'make test'

# Mounts end with the name spaces, so that the folder can be removed.
root=$(mktemp -d "${TMPDIR:-/tmp}/fresh-machine.XXXXXX")
chmod 755 "$root"
unshare --mount --pid --fork --kill-child -- "$0" --in-name-spaces "$root" "$mirror" "$@" ||
  fail "the machine stays in $root"
rm -rf --one-file-system "$root"
