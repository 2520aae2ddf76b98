#!/usr/bin/env bash
# What the other stages need beyond a Rust toolchain: a C compiler and the kernel's headers.
set -euo pipefail
if command -v cc >/dev/null && echo '#include <linux/seccomp.h>' | cc -E - >/dev/null 2>&1; then
  exit 0
fi
apt-get update -qq
apt-get install -y -qq gcc libc6-dev linux-libc-dev >/dev/null
