//! Paths that a closure takes along.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes of a path that is kept without an allocation: longer than most.
const SHORT: usize = 111;

/// A path of its own. One that was allocated here and freed on the crew thread would miss the allocator's
/// caches on both.
pub(super) enum OwnedPath {
    Short(u8, [u8; SHORT]),
    Long(Box<Path>),
}

impl OwnedPath {
    #[inline]
    pub(super) fn new(path: &Path) -> Self {
        let bytes = path.as_os_str().as_bytes();
        let mut short = [0; SHORT];
        match short.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Self::Short(bytes.len() as u8, short)
            }
            None => Self::Long(path.into()),
        }
    }
}

impl AsRef<Path> for OwnedPath {
    #[inline]
    fn as_ref(&self) -> &Path {
        match self {
            Self::Short(len, bytes) => Path::new(OsStr::from_bytes(&bytes[..usize::from(*len)])),
            Self::Long(path) => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_any_length_is_kept() {
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 5000] {
            let path = "x".repeat(length);
            assert_eq!(OwnedPath::new(Path::new(&path)).as_ref(), Path::new(&path));
        }
    }
}
