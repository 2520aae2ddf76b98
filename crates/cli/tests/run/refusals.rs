//! What is not run, and what is said then.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use rustix::fs::{XattrFlags, setxattr};
use rustix::process::getuid;
use syslet_testfs::skip;

use super::util::{aio, libraries, run};
use crate::util::{assert_code, stderr, syslet};

#[track_caller]
fn refused(command: &mut Command, status: i32, why: &str) {
    let output = command.output().unwrap();
    assert_code(&output, status);
    assert!(stderr(&output).contains(why), "{}", stderr(&output));
}

fn copy(folder: &Path, mode: u32) -> std::path::PathBuf {
    let path = folder.join("program");
    fs::copy(aio(&[]), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn programs_that_gain_privileges_are_refused() {
    if !getuid().is_root() {
        return skip("only root can make such programs");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (mode, why) in [(0o4755, "is set-user-ID"), (0o2755, "is set-group-ID")] {
        let path = copy(folder.path(), mode);
        chown(&path, Some(12345), Some(12345)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap(); // chown took it
        refused(run(&[]).arg(&path), 126, why);
        // Through a script, too.
        let script = folder.path().join("script");
        fs::write(&script, format!("#!{}\n", path.display())).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        refused(run(&[]).arg(&script), 126, why);
        // For its own owner it gains nothing.
        chown(&path, Some(0), Some(0)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_code(&run(&[]).arg(&path).arg("1").output().unwrap(), 0);
    }
    let path = copy(folder.path(), 0o755);
    // struct vfs_cap_data, version 2: CAP_NET_RAW, permitted and effective.
    let capabilities = [0x0200_0001_u32, 1 << 13, 0, 0, 0].map(u32::to_le_bytes).concat();
    if setxattr(&path, c"security.capability", &capabilities, XattrFlags::empty()).is_err() {
        return skip("file capabilities cannot be set here");
    }
    // Root gains nothing by them; another user does.
    assert_code(&run(&[]).arg(&path).arg("1").output().unwrap(), 0);
    let own = folder.path().join("syslet");
    fs::copy(env!("CARGO_BIN_EXE_syslet"), &own).unwrap();
    let library = folder.path().join("libsyslet_posix_aio.so");
    fs::copy(libraries().join("libsyslet_posix_aio.so"), library).unwrap();
    let mut other = Command::new("setpriv");
    other.args(["--reuid=12345", "--regid=12345", "--clear-groups"]).arg(own);
    refused(other.args(["run", "--posix-aio", "--"]).arg(&path), 126, "has file capabilities");
}

#[test]
fn programs_that_have_no_loader_are_refused() {
    refused(run(&[]).arg(aio(&["-static"])), 126, "is linked statically");
    refused(run(&["--report"]).arg(aio(&["-static-pie"])), 126, "is linked statically");
}

#[test]
fn what_is_not_there_or_cannot_be_run_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "text").unwrap();
    for options in [&[][..], &["--report"]] {
        refused(run(options).arg("no-such-command"), 127, "no-such-command: no such command");
        refused(run(options).arg(&plain), 126, "Permission denied");
        refused(run(options).arg("/"), 126, "");
    }
}

#[test]
fn libraries_that_are_not_there_are_named_with_where_they_were_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = syslet();
    command.args(["run", "--posix-aio", "--", "true"]).env("SYSLET_LIBDIR", folder.path());
    let path = folder.path().join("libsyslet_posix_aio.so").display().to_string();
    refused(&mut command, 125, &path);
    // The system's library of the same name is none of ours.
    fs::write(folder.path().join("libaio.so.1"), "another").unwrap();
    let mut command = syslet();
    command.args(["run", "--libaio", "--", "true"]).env("SYSLET_LIBDIR", folder.path());
    refused(&mut command, 125, "libaio.so.1 is not there");
    // A path that LD_PRELOAD cannot hold.
    let spaced = folder.path().join("two words");
    fs::create_dir(&spaced).unwrap();
    fs::copy(libraries().join("libsyslet_posix_aio.so"), spaced.join("libsyslet_posix_aio.so"))
        .unwrap();
    let mut command = syslet();
    command.args(["run", "--posix-aio", "--", "true"]).env("SYSLET_LIBDIR", &spaced);
    refused(&mut command, 125, "a space or a colon");
}

#[test]
fn an_installed_command_finds_its_libraries() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["bin", "lib/syslet"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    let own = folder.path().join("bin/syslet");
    fs::copy(env!("CARGO_BIN_EXE_syslet"), &own).unwrap();
    let file = "libsyslet_posix_aio.so";
    fs::copy(libraries().join(file), folder.path().join("lib/syslet").join(file)).unwrap();
    let mut command = Command::new(&own);
    command.args(["run", "--posix-aio", "--", "sh", "-c", "echo $LD_PRELOAD"]);
    let output = command.env_remove("SYSLET_LIBDIR").env("LD_PRELOAD", "").output().unwrap();
    assert_code(&output, 0);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.trim().ends_with("lib/syslet/libsyslet_posix_aio.so"), "{said}");
}
