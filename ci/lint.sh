#!/usr/bin/env bash
# Format and lints; warnings are errors.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all -- --check
cargo clippy --quiet --workspace --all-targets -- -D warnings
