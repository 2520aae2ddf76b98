#!/usr/bin/env bash
# Runs a command; if it fails, says so and runs it once more: bash ci/again.sh COMMAND...
# Some tests bound times on CPUs that are kept busy, and the machine may be shared. Both runs are seen.
set -uo pipefail
"$@" && exit 0
echo "== failed, is run again: $*"
exec "$@"
