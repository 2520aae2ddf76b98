#!/usr/bin/env bash
# Packages: of crates, which must build as they would be published; and Debian's, which are installed, used and removed.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

# Cargo takes a package of this name and version for what it was in a run before, both what it has unpacked (a registry
# that is a directory, as theirs is, has no host in its name) and what it has built. So it begins anew.
rm -rf "${CARGO_HOME:-$HOME/.cargo}"/registry/src/-*/syslet-*

unpublished=(bench guide xtask file-server syslet-testfs)
cargo package --quiet --workspace --allow-dirty --target-dir "$folder/target" "${unpublished[@]/#/--exclude=}"

cargo install --quiet --locked --path crates/cli --root "$folder/root"
"$folder/root/bin/syslet" calls statx >/dev/null

if ! command -v dh >/dev/null || ! command -v dpkg-deb >/dev/null; then
  echo "skipped: ci/package.sh:$LINENO: no debhelper here: Debian's packages are not built"
  exit 0
fi
mkdir "$folder/debs"
DEB_BUILD_OPTIONS=noautodbgsym PACKAGES="$folder/debs" debian/rules binary >"$folder/log" 2>&1 ||
  { cat "$folder/log"; exit 1; }
debian/rules clean >/dev/null
if [ "$(id -u)" -ne 0 ]; then
  echo "skipped: ci/package.sh:$LINENO: not root: Debian's packages are built, and not installed"
  exit 0
fi
dpkg -i "$folder"/debs/*.deb >/dev/null
trap 'dpkg -r libsyslet-dev libsyslet0 syslet >/dev/null; rm -rf "$folder"' EXIT

syslet --version
syslet probe --json >"$folder/probe"
grep -q '"mechanism"' "$folder/probe"
syslet scan --json /usr/include/syslet >"$folder/scan"
grep -q '"entries"' "$folder/scan"
# Both libraries are found and take part: the report says so.
for engine in libaio posixaio; do
  library="${engine/posixaio/posix-aio}"
  job=(fio --name=package --ioengine="$engine" --rw=randread --bs=4k --size=1m --filename="$folder/file")
  syslet run --json --report="$folder/$library" -- "${job[@]}" >/dev/null
  grep -q "\"$library\":{\"processes\":1,\"operations\":\[{\"kind\":\"read\"" "$folder/$library"
done
# From the packages, not from the system: images of containers often leave out manual pages.
for page in syslet:man1/syslet.1.gz libsyslet-dev:man3/syslet_submit.3.gz; do
  dpkg-deb --fsys-tarfile "$folder"/debs/"${page%%:*}"_*.deb |
    tar -xO "./usr/share/man/${page#*:}" | gzip -d >"$folder/page"
  groff -man -ww -z "$folder/page"
done
test -s /usr/share/bash-completion/completions/syslet
cat >"$folder/use.c" <<'C'
#include <stdio.h>
#include <sys/syscall.h>
#include <syslet.h>

int main(void)
{
    struct syslet_call call = {SYS_getppid, {0}};
    struct syslet_pending *pending;
    long parent = 0;
    if (syslet_attach(NULL) < 0 || syslet_submit(&call, &parent, &pending) != SYSLET_DONE)
        return 1;
    printf("%s, child of %ld\n", syslet_version(), parent);
    return syslet_detach();
}
C
# shellcheck disable=SC2046
cc "$folder/use.c" -o "$folder/use" $(pkg-config --cflags --libs syslet)
"$folder/use" >"$folder/said"
grep -qx "0.1.0, child of $$" "$folder/said"
