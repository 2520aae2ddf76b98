#!/usr/bin/env bash
# What the other stages need beyond a Rust toolchain: C and C++ compilers, the kernel's headers, groff for
# manual pages; b3sum, which checks manifests; what the drop-in libraries are put in front of: libaio, fio,
# qemu-img, MariaDB; libuv, which the bench compares; and debhelper and pkg-config, for packages.
set -euo pipefail
if command -v cc >/dev/null && command -v c++ >/dev/null && command -v groff >/dev/null &&
  echo '#include <linux/seccomp.h>' | cc -E - >/dev/null 2>&1; then
  compilers=
else
  compilers="gcc g++ groff libc6-dev linux-libc-dev"
fi
programs="b3sum libaio-dev libuv1-dev fio qemu-utils mariadb-server debhelper pkg-config"
# shellcheck disable=SC2086
if [ -z "$compilers" ] && dpkg -s $programs >/dev/null 2>&1; then
  exit 0
fi
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $compilers $programs >/dev/null
