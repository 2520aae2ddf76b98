#!/usr/bin/env bash
# The library's tests under AddressSanitizer, with guests and in the pool. Works on the stable compiler; std
# itself is not instrumented.
#
# AddressSanitizer keeps what it knows of a thread's stack in thread-locals. Stack and thread pointer of a
# guest move together, so that is right on every kernel thread. Its options:
# - alternate signal stacks belong to kernel threads: it must leave them alone (it would unmap ours);
# - it must not move locals to the heap (to find uses after return): it looks for that heap in thread-locals,
#   and a sentinel has none;
# - std reports stack overflows, and tests look at the reports: it must not take their signals;
# - it must not look for leaks in the library's own tests: what a submitted call may write to is leaked by them, for
#   safety. In the C programs it does, and finds them in each way of working: it looks at the whole of a stack if the
#   stack pointer is elsewhere, and what the library keeps for ever is reachable (lost.c shows both); lsan.supp has
#   what is not.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address --cfg asan" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/asan"
export ASAN_OPTIONS
ASAN_OPTIONS=use_sigaltstack=0:detect_stack_use_after_return=0
ASAN_OPTIONS+=:handle_segv=0:handle_sigbus=0
own_options="$ASAN_OPTIONS"
ASAN_OPTIONS+=:detect_leaks=0
# Frames are several times as large; some tests move large values about.
export RUST_MIN_STACK=16777216
# For a target that is named, build scripts and macros are built without the sanitizer.
CARGO_BUILD_TARGET="$(rustc -vV | sed -n 's/^host: //p')"
export CARGO_BUILD_TARGET
suite() { bash ci/again.sh cargo test --quiet -p syslet "$@"; }
suite --test main
SYSLET_TEST_MODE=pool SYSLET_FORCE_POOL=1 suite --test main
# The C library, for its programs: with the runtime of the Rust compiler, which both are instrumented for.
cargo build --quiet -p syslet-capi
library="$CARGO_TARGET_DIR/$CARGO_BUILD_TARGET/debug/libsyslet_capi.a"
runtime="$(rustc --print sysroot)/lib/rustlib/$CARGO_BUILD_TARGET/lib/librustc-stable_rt.asan.a"
# Its programs, compiled with the sanitizers, each in each way; but for those that load the library later, which is as
# it is then. (valgrind is no way: it knows neither `lsl` nor `wrfsbase`, and takes a stack for its kernel thread's.)
unset RUSTC_BOOTSTRAP RUSTFLAGS CARGO_BUILD_TARGET
CARGO_TARGET_DIR="${CARGO_TARGET_DIR%/asan}"
export CARGO_TARGET_DIR
# What UBSan finds ends the program: else it would be a line of text, in a test that passes.
export SYSLET_TEST_CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all"
SYSLET_TEST_SANITIZED="$(realpath "$library") -Wl,--whole-archive $runtime -Wl,--no-whole-archive -lubsan -rdynamic"
export SYSLET_TEST_SANITIZED
ASAN_OPTIONS="$own_options:detect_leaks=1"
export LSAN_OPTIONS="suppressions=$PWD/ci/lsan.supp:print_suppressions=0"
# Not those that fork while other threads allocate: in such a child the sanitizer's allocator may be locked for ever.
forks=(--skip has_ended --skip child --skip daemons --skip survives)
# Nor that of a thousand threads with the library instrumented: its mappings would be more than a process may have.
bash ci/again.sh cargo test --quiet -p syslet-capi --test main -- programs --skip a_thousand_threads "${forks[@]}"
ASAN_OPTIONS="$own_options:detect_leaks=0" # the libraries below are not instrumented
SYSLET_TEST_SANITIZED='' bash ci/again.sh cargo test --quiet -p syslet-capi --test main -- a_thousand_threads
# The programs of the drop-ins likewise. One library is loaded before the sanitizer's runtime, which must be in the
# program then; and with the sanitizer the compiler suspects names of being cut off that are not.
bash ci/again.sh cargo test --quiet -p syslet-libaio --test main -- answers cancels edges load slow "${forks[@]}"
SYSLET_TEST_CFLAGS+=" -static-libasan -Wno-format-truncation"
bash ci/again.sh cargo test --quiet -p syslet-posix-aio --test main -- differential promises refusals "${forks[@]}"
