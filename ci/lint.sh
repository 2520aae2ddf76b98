#!/usr/bin/env bash
# Format and lints; warnings are errors.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all -- --check
cargo clippy --quiet --workspace --all-targets -- -D warnings
# What rustfmt leaves alone: comments (but for their tables), strings, C and scripts.
git ls-files -z -- '*.rs' '*.h' '*.c' '*.sh' | xargs -0 awk '
  length > 120 && !/^\/\/[\/!] \|/ { print FILENAME ":" FNR ": more than 120 columns"; wide = 1 }
  END { exit wide }'
# What is run again, and counted, is kept to its rules.
bash ci/again-test.sh
# Early, before the long stages: pages of other headers would only be found by the tests.
cargo xtask man
git diff --exit-code --stat -- crates/capi/man
