//! Lines that `b3sum -c` accepts.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::{Mutex, PoisonError};

use crate::args::ManifestTo;
use crate::exit::Trouble;

/// Bytes to gather before they are written.
const BUFFER: usize = 64 << 10;

/// Where the lines go. Closures write to it themselves: a slow reader holds up them, not the guest.
#[derive(Debug)]
pub(super) struct Manifest(Mutex<Lines>);

/// Protected by the lock: whole lines are written.
#[derive(Debug)]
struct Lines {
    to: BufWriter<File>,
    path: Vec<u8>,
    name: String,
    /// The first error; nothing is written after it.
    failed: Option<io::Error>,
}

impl Manifest {
    pub(super) fn create(to: &ManifestTo) -> Result<Self, Trouble> {
        let (file, name) = match to {
            ManifestTo::File(path) => (File::create(path), path.display().to_string()),
            ManifestTo::Stdout => {
                let fd = rustix::io::dup(io::stdout());
                (fd.map(File::from).map_err(io::Error::from), "standard output".to_owned())
            }
        };
        let file = file.map_err(Trouble::at(name.clone()))?;
        let to = BufWriter::with_capacity(BUFFER, file);
        Ok(Self(Mutex::new(Lines { to, path: Vec::new(), name, failed: None })))
    }

    /// Writes a line; false if that fails, now or before.
    pub(super) fn line(&self, hash: &blake3::Hash, write_path: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = &mut *guard;
        if lines.failed.is_none() {
            lines.path.clear();
            write_path(&mut lines.path);
            lines.failed = write_line(&mut lines.to, hash, &lines.path).err();
        }
        lines.failed.is_none()
    }

    /// Writes out what is left, and says whether anything has failed.
    pub(super) fn finish(&self) -> Result<(), Trouble> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match lines.failed.take() {
            Some(error) => Err(error),
            None => lines.to.flush(),
        };
        result.map_err(Trouble::at(lines.name.clone()))
    }
}

/// As b3sum does: a backslash before the line says that the name is escaped, and what is no UTF-8 is
/// replaced (`b3sum -c` refuses such a line instead of checking a wrong file).
fn write_line(to: &mut impl Write, hash: &blake3::Hash, path: &[u8]) -> io::Result<()> {
    let path = String::from_utf8_lossy(path);
    let hex = hash.to_hex();
    if !path.contains(['\\', '\n', '\r']) {
        return writeln!(to, "{hex}  {path}");
    }
    let escaped = path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    writeln!(to, "\\{hex}  {escaped}")
}

#[cfg(test)]
mod tests {
    use super::write_line;

    fn line(path: &[u8]) -> String {
        let mut to = Vec::new();
        write_line(&mut to, &blake3::hash(b""), path).unwrap();
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn plain_names_stay() {
        let hash = blake3::hash(b"").to_hex();
        assert_eq!(line(b"a  b"), format!("{hash}  a  b\n"));
    }

    #[test]
    fn special_names_are_escaped_and_marked() {
        let hash = blake3::hash(b"").to_hex();
        assert_eq!(line(b"a\\b\nc\rd"), format!("\\{hash}  a\\\\b\\nc\\rd\n"));
    }

    #[test]
    fn what_is_no_utf8_is_replaced() {
        assert!(line(b"a\xff").ends_with("  a\u{fffd}\n"));
    }
}
