#!/usr/bin/env bash
# All tests: the command that the README gives, then the library's again in its other ways of working.
# (The suite of whole programs goes through all of them by itself.)
set -euo pipefail
cd "$(dirname "$0")/.."
SYSLET_TEST_MODE=pinned bash ci/again.sh cargo test --quiet -p syslet --test main
SYSLET_TEST_MODE=pool SYSLET_FORCE_POOL=1 bash ci/again.sh cargo test --quiet -p syslet --test main
SYSLET_FORCE_POOL=1 bash ci/again.sh cargo test --quiet -p syslet-tokio --test main
# The event queue under random changes by eight threads, once for long; about 65 s. What it finds is never run again.
SYSLET_STRESS_SECONDS=60 cargo test --quiet -p syslet-kevent --test main stress
# On a shared machine a scenario that fails is run a second time; both are printed.
all="cargo test --workspace --no-fail-fast"
if ! grep -qxF "$all" README.md; then
  echo "test: the README gives another command than this: $all"
  exit 1
fi
# shellcheck disable=SC2086
SYSLET_TEST_AGAIN=1 bash ci/again.sh $all
