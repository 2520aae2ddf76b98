//! Where the drop-in libraries are.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::exit::Trouble;

/// The environment variable that names the folder.
const FOLDER: &str = "SYSLET_LIBDIR";

/// A drop-in library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    PosixAio,
    Libaio,
}

impl Library {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::PosixAio, Self::Libaio];

    fn file(self) -> &'static str {
        match self {
            Self::PosixAio => "libsyslet_posix_aio.so",
            // The loader takes it for every library that is asked for under this name.
            Self::Libaio => "libaio.so.1",
        }
    }
}

/// The value of `LD_PRELOAD`: our libraries before those that are there.
pub(super) fn preload(libraries: &[Library]) -> Result<OsString, Trouble> {
    let folders = folders()?;
    let mut value = OsString::new();
    for library in libraries {
        let path = find(library.file(), &folders)?;
        if path.as_os_str().as_encoded_bytes().iter().any(|byte| b" :".contains(byte)) {
            let path = path.display();
            return Err(Trouble::new(format!(
                "{path}: LD_PRELOAD takes no path with a space or a colon"
            )));
        }
        push(&mut value, path.as_os_str());
    }
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        push(&mut value, &others);
    }
    Ok(value)
}

fn push(value: &mut OsString, path: &OsStr) {
    if !value.is_empty() {
        value.push(":");
    }
    value.push(path);
}

/// The folders to look in: the one that is named; else beside the command, and where an installed one has libraries.
fn folders() -> Result<Vec<PathBuf>, Trouble> {
    if let Some(folder) = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()) {
        let folder = std::path::absolute(&folder).map_err(Trouble::at(FOLDER))?;
        return Ok(vec![folder]);
    }
    let own = std::env::current_exe().map_err(Trouble::at("where this command is"))?;
    let beside = own.parent().unwrap_or(Path::new("/"));
    let mut folders = vec![beside.to_owned()];
    if let Some(prefix) = beside.parent() {
        folders.push(prefix.join("lib/syslet"));
        folders.push(prefix.join("lib"));
    }
    Ok(folders)
}

fn find(file: &str, folders: &[PathBuf]) -> Result<PathBuf, Trouble> {
    let mut paths = folders.iter().map(|folder| folder.join(file));
    if let Some(found) = paths.clone().find(|path| is_ours(path)) {
        return Ok(found);
    }
    let looked: Vec<_> = paths.by_ref().map(|path| path.display().to_string()).collect();
    Err(Trouble::new(format!(
        "{file} is not there; looked for {} ({FOLDER} may name its folder)",
        looked.join(", ")
    )))
}

/// True if it is one of our libraries, and not the system's of the same name.
fn is_ours(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    let mark = syslet_dropin::report::VARIABLE.as_bytes();
    bytes.windows(mark.len()).any(|window| window == mark)
}
