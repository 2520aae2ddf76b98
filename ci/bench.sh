#!/usr/bin/env bash
# The benchmarks with tiny parameters, so that they cannot rot. Figures are not looked at.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo run --quiet --release -p bench -- inline --quick >/dev/null
cargo run --quiet --release -p bench -- handoff --quick >/dev/null
cargo run --quiet --release -p bench -- parked --quick >/dev/null
cargo run --quiet --release -p bench -- queue --quick >/dev/null
# Whether each closure was inline depends on what else runs: if not, that is an answer (1), not trouble.
cargo run --quiet --release -p bench -- tokio --quick >/dev/null || test $? -eq 1
# Whether reads really came from a disk depends on the machine: if not, that is an answer (1), not trouble.
cargo run --quiet --release -p bench -- cold --quick >/dev/null || test $? -eq 1
