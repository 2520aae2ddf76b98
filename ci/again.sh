#!/usr/bin/env bash
# Runs a command; if it fails, says so and runs it once more: bash ci/again.sh COMMAND...
# Some tests bound times on CPUs that are kept busy, and the machine may be shared. Both runs are seen.
# What a sanitizer finds, no load has caused: that is a failure at once.
set -uo pipefail
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
"$@" 2>&1 | tee "$log" && exit 0
if grep -q -e AddressSanitizer -e 'runtime error:' "$log"; then
  echo "== failed, by what a sanitizer has found: $*"
  exit 1
fi
echo "== failed, is run again: $*"
"$@"
