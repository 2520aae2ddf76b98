#!/usr/bin/env bash
# The documentation builds without a warning: no broken links. The guide's chapters are part of it, and docs/tests has
# what mdbook would find in them: it is no package of Debian 12, and building it takes 80 s of CPU time and 122 crates.
set -euo pipefail
cd "$(dirname "$0")/.."
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --document-private-items
