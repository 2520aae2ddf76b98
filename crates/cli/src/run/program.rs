//! The program that is to be run: where it is, and whether libraries can be put in front of it.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, getxattr};
use rustix::process::{getgid, getuid};

use super::file::{Kind, kind};

/// How many scripts may interpret each other: the kernel's limit.
const DEPTH: usize = 5;
/// The path that execvp(3) takes where there is none in the environment.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
/// Without it set-group means something else: chmod(2).
const GROUP_RUNS: u32 = 0o010;

/// Why a program cannot be run with libraries in front.
#[derive(Debug)]
pub(super) enum Unfit {
    NotFound,
    Io(io::Error),
    /// The loader takes no libraries from the user for it. Why, and the file.
    Privileged(&'static str, PathBuf),
    Static(PathBuf),
    Foreign(PathBuf),
    /// It has another C library, whose loader cannot load ours.
    OtherLoader(PathBuf, PathBuf),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such command"),
            Self::Io(error) => error.fmt(f),
            Self::Privileged(how, path) => {
                write!(f, "{} {how}, so the loader puts no library in front of it", path.display())
            }
            Self::Static(path) => write!(
                f,
                "{} is linked statically, so no library can be put in front of it",
                path.display()
            ),
            Self::Foreign(path) => {
                write!(f, "{} is a program for another architecture", path.display())
            }
            Self::OtherLoader(path, loader) => write!(
                f,
                "{} is loaded by {}, and the libraries are for glibc's loader",
                path.display(),
                loader.display()
            ),
        }
    }
}

/// The file of a command, as execvp(3) finds it, if libraries can be put in front of it.
pub(super) fn find(command: &OsStr) -> Result<PathBuf, Unfit> {
    let path = look_up(command)?;
    check(&path, DEPTH)?;
    Ok(path)
}

fn look_up(command: &OsStr) -> Result<PathBuf, Unfit> {
    let is_file = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.is_file());
    if command.is_empty() {
        return Err(Unfit::NotFound);
    }
    if command.as_bytes().contains(&b'/') {
        let path = PathBuf::from(command);
        return path.metadata().map_err(Unfit::Io).and_then(|_| runnable(path));
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let paths = std::env::split_paths(&folders).map(|folder| {
        if folder.as_os_str().is_empty() {
            Path::new(".").join(command)
        } else {
            folder.join(command)
        }
    });
    let mut found = Err(Unfit::NotFound);
    for path in paths.filter(|path| is_file(path)) {
        match runnable(path) {
            // One that may not be run does not hide one that may.
            Err(unfit) => found = Err(unfit),
            found => return found,
        }
    }
    found
}

fn runnable(path: PathBuf) -> Result<PathBuf, Unfit> {
    match access(&path, Access::EXEC_OK) {
        Ok(()) => Ok(path),
        Err(error) => Err(Unfit::Io(error.into())),
    }
}

fn check(path: &Path, depth: usize) -> Result<(), Unfit> {
    let kind = match kind(path) {
        Ok(kind) => kind,
        // It may be run without being read; then what it is cannot be known.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Kind::Other,
        Err(error) => return Err(Unfit::Io(error)),
    };
    let path_of = || path.to_owned();
    match kind {
        // The kernel ignores a script's own privileges.
        Kind::Script(interpreter) if depth > 0 => return check(&interpreter, depth - 1),
        Kind::Script(_) => return Ok(()),
        Kind::Static => return Err(Unfit::Static(path_of())),
        Kind::Foreign => return Err(Unfit::Foreign(path_of())),
        Kind::Dynamic(loader) if !is_of_glibc(&loader) => {
            return Err(Unfit::OtherLoader(path_of(), loader));
        }
        Kind::Dynamic(_) | Kind::Other => {}
    }
    match privilege(path).map_err(Unfit::Io)? {
        Some(how) => Err(Unfit::Privileged(how, path_of())),
        None => Ok(()),
    }
}

fn is_of_glibc(loader: &Path) -> bool {
    loader.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ld-linux"))
}

/// What a program would gain by being run, if anything: then it runs in the loader's secure mode (ld.so(8)).
fn privilege(path: &Path) -> io::Result<Option<&'static str>> {
    let file = path.metadata()?;
    if file.mode() & SET_USER != 0 && file.uid() != getuid().as_raw() {
        return Ok(Some("is set-user-ID"));
    }
    let set_group = file.mode() & (SET_GROUP | GROUP_RUNS) == SET_GROUP | GROUP_RUNS;
    if set_group && file.gid() != getgid().as_raw() {
        return Ok(Some("is set-group-ID"));
    }
    // Root has all capabilities anyway: capabilities(7).
    let capable = getxattr(path, c"security.capability", &mut [0u8; 64][..]).is_ok();
    Ok((capable && !getuid().is_root()).then_some("has file capabilities"))
}
