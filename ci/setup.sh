#!/usr/bin/env bash
# What the other stages need beyond a Rust toolchain: C and C++ compilers, the kernel's headers, and groff for
# manual pages.
set -euo pipefail
if command -v cc >/dev/null && command -v c++ >/dev/null && command -v groff >/dev/null && echo '#include <linux/seccomp.h>' | cc -E - >/dev/null 2>&1; then
  exit 0
fi
apt-get update -qq
apt-get install -y -qq gcc g++ groff libc6-dev linux-libc-dev >/dev/null
