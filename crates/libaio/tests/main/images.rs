//! qemu-img, which looks for events in the ring's memory only.

use std::fs;
use std::path::Path;

use syslet_dropin::report::{Kind, Way};

use crate::util::{Library, Report, command, count, finish, has, scratch};

const ALL: [Library; 3] = [Library::System, Library::Ours, Library::Attached];
const SIZE: usize = 16 << 20;
/// What qemu asks for is one or the other, by the number of its buffers.
const READS: [Kind; 2] = [Kind::Read, Kind::Readv];
const WRITES: [Kind; 2] = [Kind::Write, Kind::Writev];
const SYNCS: [Kind; 2] = [Kind::Fsync, Kind::Fdsync];

/// Of ours, how often something went through it. It is all past the cache, so the kernel's.
#[track_caller]
fn assert_counts(report: &Report, library: Library, least: &[([Kind; 2], u64)]) {
    let summary = report.read();
    for (kinds, least) in least {
        let all = count(&summary, kinds, None);
        let kernel = count(&summary, kinds, Some(Way::Kernel));
        let least = if library == Library::System { 0 } else { *least };
        assert!(all >= least && kernel == all, "{library:?}: {kinds:?}: {summary}");
    }
}

/// An image of many contents.
fn image(folder: &Path) -> std::path::PathBuf {
    let place = folder.join("image");
    let mut state = 1u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if state >> 62 == 0 { [0; 8] } else { state.to_le_bytes() }
    };
    let bytes: Vec<u8> = (0..SIZE / 8).flat_map(|_| word()).collect();
    fs::write(&place, bytes).expect("there is room");
    place
}

#[test]
fn qemu_bench_runs_with_native_aio() {
    if !has("qemu-img") {
        return;
    }
    for library in ALL {
        let folder = scratch();
        let image = image(folder.path());
        let report = Report::new(folder.path());
        for options in [
            &["-c", "3000", "-d", "32"][..],
            &["-c", "600", "-d", "16", "-w", "--flush-interval=64"],
        ] {
            let mut bench = command(library, "qemu-img");
            bench.args(["bench", "-n", "-t", "none", "-f", "raw"]).args(options).arg(&image);
            let output = finish(report.tell(&mut bench)).assert_good();
            assert!(output.contains("Run completed"), "{output}");
        }
        // It asks for a sync when the number that is left is a multiple of 64 as a write ends, and many end at a time.
        assert_counts(&report, library, &[(READS, 3000), (WRITES, 600), (SYNCS, 1)]);
    }
}

#[test]
fn qemu_convert_copies_every_byte() {
    if !has("qemu-img") {
        return;
    }
    for library in ALL {
        let folder = scratch();
        let image = image(folder.path());
        let copy = folder.path().join("copy");
        fs::File::create(&copy).and_then(|file| file.set_len(SIZE as u64)).expect("there is room");
        let native = |file: &Path| {
            let file = file.display();
            format!(
                "driver=raw,file.driver=file,file.filename={file},file.aio=native,cache.direct=on"
            )
        };
        let mut convert = command(library, "qemu-img");
        convert.args(["convert", "--image-opts", "--target-image-opts", "-n", "-m", "8", "-W"]);
        let report = Report::new(folder.path());
        finish(report.tell(convert.arg(native(&image)).arg(native(&copy)))).assert_good();
        // In pieces of 2 MiB at most.
        assert_counts(&report, library, &[(READS, 8), (WRITES, 8)]);
        finish(
            command(library, "qemu-img")
                .arg("compare")
                .args(["-f", "raw", "-F", "raw"])
                .args([&image, &copy]),
        )
        .assert_good();
        assert!(fs::read(&image).expect("it is there") == fs::read(&copy).expect("it is there"));
    }
}
