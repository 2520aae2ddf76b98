#!/usr/bin/env bash
# The benchmarks with tiny parameters, so that they cannot rot. Figures are not looked at.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
# What the README has a newcomer run, but for the tests (ci/test.sh) and the report, which is made below with --quick.
scan="cargo run --release -p syslet-cli -- scan /usr/share"
build="cargo build --release -p syslet-cli -p syslet-posix-aio && cargo xtask libaio target/release"
for command in "$scan" "$build" "cargo run --release -p bench -- all --report report"; do
  if ! grep -qxF "$command" README.md; then
    echo "bench: the README gives another command than this: $command"
    exit 1
  fi
done
bash -ec "$scan >/dev/null"
bash -ec "$build"
cargo build --quiet --release -p bench
bench=(cargo run --quiet --release -p bench --)

# Whether each call took its path depends on the machine and what else runs: if not, that is an answer (1), not trouble.
parts=()
if [ ! -c /dev/fuse ]; then
  echo "skipped: ci/bench.sh:$LINENO: no FUSE here: stall is not measured"
  parts=(inline handoff compare scan parked queue cold tokio server capi libaio posixaio kevent)
fi
"${bench[@]}" all --quick --report "$folder" "${parts[@]/#/--part=}" >/dev/null || test $? -eq 1
test -s "$folder/report.html" && test -s "$folder/report.md" && test -s "$folder/report.json"

# Of these the paths do not depend on anything.
"${bench[@]}" queue --quick >/dev/null
"${bench[@]}" parked --quick >/dev/null
# Tokio's io_uring is built first, which --quick leaves out; without io_uring it is named and left out.
"${bench[@]}" compare --quick --way plain --way tokio_fs_uring >/dev/null
# The soak is one of the bench's tests: most of its minute goes by until idle threads have ended.
