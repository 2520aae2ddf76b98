#!/usr/bin/env bash
# Runs a command; if it fails, says so and runs it once more: bash ci/again.sh COMMAND...
# Some tests bound times on CPUs that are kept busy, and the machine may be shared. Both runs are seen, and .ci/run
# counts them (ci/counted.sh). Of a `cargo test` that goes on after a failure the targets that failed are run again,
# each whole. What a sanitizer finds, no load has caused, and a property test that has a counterexample, hangs or aborts
# is right: those are failures at once.
set -uo pipefail
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
"$@" 2>&1 | tee "$log" && exit 0
if grep -q -e AddressSanitizer -e 'runtime error:' "$log"; then
  echo "== failed, by what a sanitizer has found: $*"
  exit 1
fi
# As proptest says it: by its own panic, and where its result is unwrapped.
if grep -q -e 'minimal failing input' -e 'Err(Fail(' -e 'on an `Err` value: Fail(' "$log"; then
  echo "== failed, by a counterexample: $*"
  exit 1
fi
# The tests say so of each; one that hangs or aborts has no counterexample to name.
tried="$(grep -o 'a property is tried' "$log" | wc -l)"
if [ "$tried" -gt "$(grep -o 'a property has held' "$log" | wc -l)" ]; then
  echo "== failed, by a property that was tried and did not hold: $*"
  exit 1
fi
# As cargo says it: "error: 1 target failed:", and a line for each with what selects it.
targets="$(sed -n '/^error: [0-9]* targets\? failed:$/,$ s/^    `\(.*\)`$/\1/p' "$log")"
if [ -z "$targets" ]; then
  echo "== failed, is run again: $*"
  "$@"
  exit
fi
while read -r target; do
  echo "== failed, is run again: $target"
  # shellcheck disable=SC2086
  cargo test $target </dev/null || exit 1
done <<<"$targets"
