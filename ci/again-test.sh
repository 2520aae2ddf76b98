#!/usr/bin/env bash
# Whether ci/again.sh and ci/counted.sh keep their rules: on commands that fail once, always and for good reasons.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
wrong() {
  echo "again-test: $*"
  exit 1
}

# Fails the first time, having said its argument.
cat >"$folder/once" <<'SH'
test -e "$0.was" && exit 0
touch "$0.was"
echo "$1"
exit 1
SH
again() { rm -f "$folder/once.was" && bash ci/again.sh bash "$folder/once" "$1" >"$folder/log" 2>&1; }

again "too slow" || wrong "what fails once is not run again"
case "$(bash ci/counted.sh "$folder/log")" in
  "1 run again: bash $folder/once too slow; 0 skipped") ;;
  *) wrong "what was run again is not counted: $(bash ci/counted.sh "$folder/log")" ;;
esac
bash ci/again.sh false >/dev/null && wrong "what fails twice passes"
for finding in "minimal failing input: ops = [Drop]" 'Err(Fail(Reason("lost"), []))' \
  'on an `Err` value: Fail(Reason("lost"), [])' 'stdout: "\na property is tried\n"' \
  "ERROR: AddressSanitizer: heap-use-after-free"; do
  again "$finding" && wrong "is run again in spite of: $finding"
done
echo "a_child_works (follow): FAILED, is run again: exit status: 101" >>"$folder/two"
echo "== failed, is run again: -p syslet --test main" >>"$folder/two"
test "$(bash ci/counted.sh "$folder/two")" = "2 run again: a_child_works (follow); -p syslet --test main; 0 skipped" ||
  wrong "of scenarios and targets: $(bash ci/counted.sh "$folder/two")"
test "$(bash ci/counted.sh /dev/null)" = "nothing was run again; 0 skipped" || wrong "of nothing"
cat >"$folder/skips" <<'LOG'
test a_child_works ... 
skipped: tests/main.rs:7: there is no fio
ok
a_guest_works (pool): skipped: there is one CPU
3 passed, 0 failed, 2 skipped
tests skipped: 1, see above
LOG
test "$(bash ci/counted.sh "$folder/skips" "$folder/skips")" = "nothing was run again; 6 skipped" ||
  wrong "of what was skipped: $(bash ci/counted.sh "$folder/skips")"
