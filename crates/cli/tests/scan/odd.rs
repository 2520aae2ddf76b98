//! What is not a plain file in a plain directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use syslet_testfs::skip;

use crate::util::{MODES, Tree, assert_code, json, run, sorted, stderr, stdout, syslet};

fn scan(args: &[&str], path: &Path) -> Output {
    syslet().arg("scan").args(args).arg(path).output().unwrap()
}

#[test]
fn loops_of_links_do_not_trap_it() {
    let mut tree = Tree::new();
    tree.file("d/file", b"x");
    symlink("..", tree.path().join("d/up")).unwrap();
    symlink("loop", tree.path().join("loop")).unwrap();
    symlink("nowhere", tree.path().join("dangling")).unwrap();
    for mode in MODES {
        let output = scan(&["--json", "--mode", mode], tree.path());
        assert_code(&output, 0);
        let found = json(&output);
        assert_eq!((found["symlinks"].as_u64(), found["files"].as_u64()), (Some(3), Some(1)));
    }
}

#[test]
fn a_link_as_argument_is_followed_only_with_a_slash() {
    let mut tree = Tree::new();
    tree.file("d/file", b"x");
    symlink("d", tree.path().join("link")).unwrap();
    let link = tree.path().join("link");
    let plain = json(&scan(&["--json"], &link));
    assert_eq!((plain["entries"].as_u64(), plain["symlinks"].as_u64()), (Some(1), Some(1)));
    let slash = json(&scan(&["--json"], &link.join("")));
    assert_eq!((slash["directories"].as_u64(), slash["files"].as_u64()), (Some(1), Some(1)));
}

#[test]
fn what_could_wait_for_ever_is_not_opened() {
    let tree = Tree::new();
    let fifo = tree.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = UnixListener::bind(tree.path().join("socket")).unwrap();
    for mode in MODES {
        for path in [tree.path(), &fifo] {
            let output = scan(&["--json", "--mode", mode], path);
            assert_code(&output, 0);
            assert_eq!(json(&output)["hashed"], 0);
        }
        assert_eq!(json(&scan(&["--json", "--mode", mode], tree.path()))["others"], 2);
    }
    assert_eq!(json(&scan(&["--json"], Path::new("/dev/zero")))["others"], 1);
}

#[test]
fn unreadable_file_is_reported_and_the_scan_goes_on() {
    let mut tree = Tree::new();
    let file = tree.file("file", b"x");
    for mode in MODES {
        let args = ["scan", "--json", "--mode", mode, "/proc/self/mem", file.to_str().unwrap()];
        let output = run(args);
        assert_code(&output, 1);
        assert!(stderr(&output).starts_with("syslet: /proc/self/mem: "), "{}", stderr(&output));
        let found = json(&output);
        assert_eq!((found["errors"].as_u64(), found["hashed"].as_u64()), (Some(1), Some(1)));
        assert_eq!(found["entries"], 2);
    }
}

#[test]
fn missing_argument_is_reported_with_its_cause() {
    let output = run(["scan", "/nonexistent/file"]);
    assert_code(&output, 1);
    assert_eq!(
        stderr(&output),
        "syslet: /nonexistent/file: No such file or directory (os error 2)\n"
    );
}

#[test]
fn complaints_do_not_carry_control_characters() {
    let output = run(["scan", "/nonexistent/\x1b[31mred"]);
    assert!(stderr(&output).contains("/nonexistent/\\u{1b}[31mred"), "{}", stderr(&output));
}

#[test]
fn made_up_files_have_content_and_an_end() {
    let output = run(["scan", "--manifest", "-", "/proc/version"]);
    assert_code(&output, 0);
    let version = fs::read("/proc/version").unwrap();
    let line = format!("{}  /proc/version\n", blake3::hash(&version).to_hex());
    assert_eq!(stdout(&output), line);
}

#[test]
fn proc_of_a_process_and_part_of_sys_finish() {
    for mode in MODES {
        // Its own, with files that grow, vanish, fail, and have terabytes.
        let output = run(["scan", "--json", "--mode", mode, "/proc/self/"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", stderr(&output));
        assert!(json(&output)["hashed"].as_u64().unwrap() > 10);
        let output = run(["scan", "--json", "--mode", mode, "/sys/kernel/mm"]);
        assert!(json(&output)["entries"].as_u64().unwrap() > 10);
    }
}

#[test]
fn endless_files_are_given_up() {
    let pagemap = Path::new("/proc/self/pagemap");
    let output = scan(&[], pagemap);
    assert_code(&output, 1);
    assert!(stderr(&output).contains("longer than 64 MiB"), "{}", stderr(&output));
}

/// Another file system below, with more of the first below that.
const MOUNTED: &str = r#"
set -e
cd "$1"
mkdir -p tree/inner tree/other
echo 1 > tree/file
echo 2 > tree/inner/file
mount -t tmpfs none tree/other
mkdir tree/other/again
echo 3 > tree/other/file
mount --bind tree/inner tree/other/again
shift
exec "$@"
"#;

#[test]
fn one_file_system_stays_there() {
    let tree = Tree::new();
    let inside = |args: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", MOUNTED, "sh"]).arg(tree.path());
        command.args(args).output()
    };
    match inside(&["true"]) {
        Ok(output) if output.status.success() => {}
        Ok(output) => return skip(&format!("nothing can be mounted: {}", stderr(&output))),
        Err(error) => return skip(&format!("unshare: {error}")),
    }
    for mode in MODES {
        let scan = |options: &[&str]| {
            let scan = ["scan", "--json", "--mode", mode];
            let args = [&[env!("CARGO_BIN_EXE_syslet")][..], &scan[..], options, &["tree"][..]];
            let output = inside(&args.concat()).unwrap();
            assert_code(&output, 0);
            let found = json(&output);
            ["directories", "files"].map(|name| found[name].as_u64().unwrap())
        };
        assert_eq!(scan(&[]), [4, 4], "{mode}: the tree, inner, other, again");
        // As du does: where something is mounted nothing is counted.
        assert_eq!(scan(&["-x"]), [2, 2], "{mode}");
    }
}

/// An overlayfs whose layers lie on two file systems: its files have other devices than its directories then.
const OVERLAY: &str = r#"
set -e
cd "$1"
mkdir lower upper merged
mount -t tmpfs none lower
mkdir -p lower/both lower/below
for name in below/a below/b both/hidden both/gone; do echo "lower $name" > lower/$name; done
mount -t tmpfs none upper
mkdir upper/work upper/top
mount -t overlay none -o lowerdir=lower,upperdir=upper/top,workdir=upper/work merged
rm merged/both/gone
echo above > merged/both/hidden
echo new > merged/new
shift
exec "$@"
"#;

#[test]
fn overlayfs_is_scanned_as_it_is_seen() {
    let tree = Tree::new();
    let inside = |args: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", OVERLAY, "sh"]).arg(tree.path());
        let output = command.args(args).output();
        for name in ["lower", "upper", "merged"] {
            let _ = fs::remove_dir(tree.path().join(name)); // they are empty outside
        }
        output
    };
    match inside(&["true"]) {
        Ok(output) if output.status.success() => {}
        Ok(output) => return skip(&format!("no overlayfs: {}", stderr(&output))),
        Err(error) => return skip(&format!("unshare: {error}")),
    }
    for mode in MODES {
        let manifest = tree.path().join("manifest");
        let scan =
            ["scan", "--json", "-x", "--mode", mode, "--manifest", manifest.to_str().unwrap()];
        let args = [&[env!("CARGO_BIN_EXE_syslet")][..], &scan[..], &["merged"][..]].concat();
        let output = inside(&args).unwrap();
        assert_code(&output, 0);
        let found = json(&output);
        let counts = ["directories", "files", "hashed"].map(|name| found[name].as_u64());
        assert_eq!(counts, [Some(3), Some(4), Some(4)], "{found}");
        let contents = ["lower below/a", "lower below/b", "above", "new"];
        let names = ["below/a", "below/b", "both/hidden", "new"];
        let expected = names.iter().zip(contents).map(|(name, content)| {
            let hash = blake3::hash(format!("{content}\n").as_bytes());
            format!("{hash}  merged/{name}\n")
        });
        let manifest = fs::read_to_string(&manifest).unwrap();
        assert_eq!(sorted(&manifest), sorted(&expected.collect::<String>()));
    }
}

#[test]
fn deep_trees_need_no_long_paths() {
    let tree = Tree::new();
    let depth = 600; // times 11 bytes: longer than PATH_MAX
    let mut at = rustix::fs::open(tree.path(), rustix::fs::OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&at, "directory_", Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::PATH;
        at = rustix::fs::openat(&at, "directory_", flags, Mode::empty()).unwrap();
    }
    for mode in MODES {
        let output = scan(&["--json", "--mode", mode], tree.path());
        assert_code(&output, 0);
        assert_eq!(json(&output)["directories"], depth + 1);
    }
}

#[test]
fn files_that_come_and_go_do_not_stop_it() {
    let mut tree = Tree::sample();
    let busy = tree.path().join("busy");
    fs::create_dir(&busy).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0_u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let file = busy.join((n % 50).to_string());
                match n % 3 {
                    0 => drop(fs::remove_file(&file)),
                    _ => drop(fs::write(&file, vec![1; n as usize % 5000])),
                }
                n = n.wrapping_add(7);
            }
        });
        for mode in MODES {
            let output = scan(&["--json", "--mode", mode], tree.path());
            assert!(matches!(output.status.code(), Some(0 | 1)), "{}", stderr(&output));
            assert!(json(&output)["hashed"].as_u64().unwrap() >= tree.files.len() as u64);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    tree.files.clear();
}
