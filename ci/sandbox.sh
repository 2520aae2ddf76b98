#!/usr/bin/env bash
# The library's tests behind the filter that Docker's default profile puts around a container, and in a sandbox that
# denies scheduling calls too, where the pool must do: the suite of behaviour in each way of working, and the suite of
# whole programs, which goes through them by itself. What a sandbox does not let be tested is said and counted.
set -euo pipefail
cd "$(dirname "$0")/.."
SYSLET_TEST_SANDBOX=docker bash ci/again.sh cargo test --quiet -p syslet --test main
SYSLET_TEST_MODE=pinned SYSLET_TEST_SANDBOX=docker bash ci/again.sh cargo test --quiet -p syslet --test main
SYSLET_TEST_SANDBOX=docker-nosched bash ci/again.sh cargo test --quiet -p syslet --test main
# Whether results are lost under stress does not depend on the filter: 5 s of it show that it runs.
for sandbox in docker docker-nosched; do
  SYSLET_TEST_AGAIN=1 SYSLET_STRESS_SECONDS=5 SYSLET_TEST_SANDBOX=$sandbox \
    cargo test --quiet -p syslet --test programs
done
# The event queue, to whose keeper files are sent there.
SYSLET_TEST_SANDBOX=docker bash ci/again.sh cargo test --quiet -p syslet-kevent --test main
