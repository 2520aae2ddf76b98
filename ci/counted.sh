#!/usr/bin/env bash
# What was run again, and how much was skipped, in one line, by the output of stages: bash ci/counted.sh LOG...
# The first is said by ci/again.sh, of targets, and by the suite of whole programs, of single scenarios. The second is
# a line of its own each time ("skipped: FILE:LINE: WHY", see crates/testfs), and of whole programs a sum at the end.
set -euo pipefail
names="$(cat "$@" | sed -n \
  -e 's/^== failed, is run again: \(.*\)$/\1/p' \
  -e 's/^\([a-z0-9_]* ([a-z]*)\): FAILED, is run again: .*$/\1/p')"
if [ -z "$names" ]; then
  again="nothing was run again"
else
  again="$(wc -l <<<"$names") run again: $(paste -sd ';' <<<"$names" | sed 's/;/; /g')"
fi
skipped="$(cat "$@" | sed -n \
  -e 's/^skipped: .*$/1/p' \
  -e 's/^[0-9]* passed, [0-9]* failed, \([0-9]*\) skipped$/\1/p' | awk '{ sum += $1 } END { print sum + 0 }')"
echo "$again; $skipped skipped"
