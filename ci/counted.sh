#!/usr/bin/env bash
# What was run again, in one line, by the output of stages: bash ci/counted.sh LOG...
# That is said by ci/again.sh, of targets, and by the suite of whole programs, of single scenarios.
set -euo pipefail
names="$(cat "$@" | sed -n \
  -e 's/^== failed, is run again: \(.*\)$/\1/p' \
  -e 's/^\([a-z0-9_]* ([a-z]*)\): FAILED, is run again: .*$/\1/p')"
if [ -z "$names" ]; then
  echo "nothing was run again"
else
  echo "$(wc -l <<<"$names") run again: $(paste -sd ';' <<<"$names" | sed 's/;/; /g')"
fi
