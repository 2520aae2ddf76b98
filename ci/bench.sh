#!/usr/bin/env bash
# The benchmarks with tiny parameters, so that they cannot rot. Figures are not looked at.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo run --quiet --release -p bench -- inline --quick >/dev/null
cargo run --quiet --release -p bench -- handoff --quick >/dev/null
cargo run --quiet --release -p bench -- parked --quick >/dev/null
cargo run --quiet --release -p bench -- queue --quick >/dev/null
cargo run --quiet --release -p bench -- capi --quick >/dev/null
cargo run --quiet --release -p bench -- kevent --quick >/dev/null
# Whether each closure was inline depends on what else runs: if not, that is an answer (1), not trouble.
cargo run --quiet --release -p bench -- tokio --quick >/dev/null || test $? -eq 1
# Whether reads really came from a disk depends on the machine: if not, that is an answer (1), not trouble.
cargo run --quiet --release -p bench -- cold --quick >/dev/null || test $? -eq 1
# Whether hot requests were inline and cold ones from a disk depends on the machine too.
cargo run --quiet --release -p bench -- server --quick >/dev/null || test $? -eq 1
cargo build --quiet --release -p syslet-posix-aio
cargo run --quiet --release -p bench -- posixaio --quick >/dev/null
libaio="$(mktemp -d)"
cargo xtask libaio "$libaio" >/dev/null
cargo run --quiet --release -p bench -- libaio --quick --library "$libaio/libaio.so.1" >/dev/null
rm -r "$libaio"
# Where FUSE cannot be used there is no soak, and a line that says so. A wrong byte or a leak is trouble.
cargo run --quiet --release -p bench -- server --quick --soak 5 >/dev/null
# The slow calls of an event loop need FUSE as well. Handoffs that did not come are an answer (1), not trouble.
if [ -c /dev/fuse ]; then
  cargo run --quiet --release -p bench -- stall --quick >/dev/null || test $? -eq 1
fi
