//! What a file is.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use syslet_sys::descriptor;
use syslet_sys::uapi::{EBADF, S_IFMT};

#[test]
fn what_is_known_of_a_file_is_what_fstat_says() {
    for path in ["/proc/self/exe", "/dev/null", "/proc/self/stat", "/tmp", "/"] {
        let file = File::open(path).expect("it is there");
        let (metadata, known) =
            (file.metadata().expect("fstat"), descriptor::stat(file.as_raw_fd()));
        let known = known.expect("it is open");
        assert_eq!((known.dev, known.ino), (metadata.dev(), metadata.ino()), "{path}");
        assert_eq!(known.mode & S_IFMT, metadata.mode() & S_IFMT, "{path}");
    }
    assert_eq!(descriptor::stat(-1).err(), Some(-EBADF));
}
