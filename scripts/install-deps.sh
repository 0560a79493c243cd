#!/bin/sh
# Installs what building, testing and the demo need, on Debian and Ubuntu: only what is missing,
# without asking. On other systems it lists what to install.
#
#   scripts/install-deps.sh [--ci] [--reference] [--aarch64] [--check | --list]
#     --ci         also what .ci/run and bench/hosts.sh need: MPICH, clang, clang-tidy, clang-format, ...;
#                  NumPy, mpi4py and gfortran, without which the tests of the bindings are skipped
#     --reference  also what tools/make_golden.py needs: PyTorch and NumPy
#     --aarch64    also what scripts/aarch64.sh needs: a cross compiler and qemu-user
#     --check      prints the missing packages, one a line, and installs nothing
#     --list       prints all packages, one a line, and installs nothing
set -eu

# Compiler and build. --no-install-recommends leaves out libc6-dev, so it is named.
packages="gcc g++ libc6-dev make cmake ninja-build pkg-config"
# Libraries. The pkg-config file of libcyaml asks for libyaml; its Debian package does not depend on it.
packages="$packages libopenmpi-dev openmpi-bin libdnnl-dev libjansson-dev
  libcyaml-dev libyaml-dev libhwloc-dev libxxhash-dev librandom123-dev
  libpcre2-dev libutf8proc-dev libsentencepiece-dev"
# For the plots of `ulysses report`.
packages="$packages gnuplot-nox"
# For the tests, and text for the demo.
packages="$packages libcmocka-dev perl perl-doc"

ci_packages="libmpich-dev mpich clang clang-tidy clang-format libclang-rt-dev libomp-dev git
  debootstrap iproute2 python3-numpy python3-mpi4py gfortran"
reference_packages="python3-torch python3-numpy"
aarch64_packages="gcc-aarch64-linux-gnu g++-aarch64-linux-gnu qemu-user"

check=no list=no
for argument in "$@"; do
  case $argument in
    --ci) packages="$packages $ci_packages" ;;
    --reference) packages="$packages $reference_packages" ;;
    --aarch64) packages="$packages $aarch64_packages" ;;
    --check) check=yes ;;
    --list) list=yes ;;
    -h | --help)
      sed -n '2,10s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      echo "install-deps: unknown option $argument (try --help)" >&2
      exit 2
      ;;
  esac
done

if [ $list = yes ]; then
  for package in $packages; do echo "$package"; done
  exit 0
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  {
    echo "install-deps: this is neither Debian nor Ubuntu. Please install what these Debian packages hold:"
    for package in $packages; do echo "  $package"; done
  } >&2
  exit 1
fi

missing=
for package in $packages; do
  # 'installed' is the third word of the status; ${...} is dpkg-query's own syntax.
  # shellcheck disable=SC2016
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
  [ "$status" = installed ] || missing="$missing $package"
done

if [ $check = yes ]; then
  for package in $missing; do echo "$package"; done
  exit 0
fi
[ -n "$missing" ] || exit 0

echo "install-deps: missing:$missing"
sudo=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install-deps: run this as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
  fi
  sudo=sudo
fi

apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@"; }

# A simulation tells, offline, whether the package lists exist and know these names.
# shellcheck disable=SC2086
if ! apt -s install --no-install-recommends $missing >/dev/null 2>&1; then
  apt update
fi
# shellcheck disable=SC2086
if ! apt install --no-install-recommends $missing; then
  echo "install-deps: the package lists may be old: fetching them again"
  apt update
  apt install --no-install-recommends $missing
fi
echo "install-deps: installed:$missing"
