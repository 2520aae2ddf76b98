#!/usr/bin/env bash
# What the other stages need beyond a Rust toolchain: C and C++ compilers, the kernel's headers, groff for manual
# pages, and fio, a program that the drop-in libraries are tested with.
set -euo pipefail
if command -v cc >/dev/null && command -v c++ >/dev/null && command -v groff >/dev/null && command -v fio >/dev/null && echo '#include <linux/seccomp.h>' | cc -E - >/dev/null 2>&1; then
  exit 0
fi
apt-get update -qq
apt-get install -y -qq fio gcc g++ groff libc6-dev linux-libc-dev >/dev/null
