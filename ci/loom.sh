#!/usr/bin/env bash
# The models of the protocols: every interleaving within the bound. In a folder of its own, because the
# flag changes every crate.
set -euo pipefail
cd "$(dirname "$0")/.."
RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
  cargo test --quiet --release -p syslet --lib models
