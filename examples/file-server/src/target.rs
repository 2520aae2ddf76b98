//! From the path of a request to a path below the root.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use hyper::StatusCode;

/// What is asked for if a directory is.
const INDEX: &str = "index.html";

/// The file under `root` that the path of a request names: percent-decoded, with `index.html` for a name
/// that ends in a slash. Nothing is looked up.
///
/// # Errors
///
/// 400 if the encoding is broken, 403 for `..`, 404 for what cannot be a name: with a slash or a NUL in it.
pub(crate) fn resolve(root: &Path, path: &str) -> Result<PathBuf, StatusCode> {
    let mut file = root.to_owned();
    let mut segments = path.strip_prefix('/').ok_or(StatusCode::BAD_REQUEST)?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let name = decode(segment).ok_or(StatusCode::BAD_REQUEST)?;
        match &*name {
            b"" | b"." if segments.peek().is_none() => file.push(INDEX),
            b"" | b"." => {}
            b".." => return Err(StatusCode::FORBIDDEN),
            name if name.contains(&b'/') || name.contains(&0) => return Err(StatusCode::NOT_FOUND),
            _ => file.push(OsString::from_vec(name)),
        }
    }
    Ok(file)
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        decoded.push((digit()? * 16 + digit()?) as u8);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(path: &str) -> Result<String, u16> {
        let file = resolve(Path::new("/srv"), path).map_err(|status| status.as_u16())?;
        Ok(file.to_str().unwrap().to_owned())
    }

    #[test]
    fn names_are_decoded_once() {
        assert_eq!(resolved("/a/b%20c").as_deref(), Ok("/srv/a/b c"));
        assert_eq!(resolved("/%2541").as_deref(), Ok("/srv/%41"));
        assert_eq!(resolved("//a/./b").as_deref(), Ok("/srv/a/b"));
        assert_eq!(
            resolve(Path::new("/r"), "/%ff").unwrap().as_os_str().as_encoded_bytes(),
            b"/r/\xff"
        );
    }

    #[test]
    fn directories_are_their_index() {
        assert_eq!(resolved("/").as_deref(), Ok("/srv/index.html"));
        assert_eq!(resolved("/a/").as_deref(), Ok("/srv/a/index.html"));
        assert_eq!(resolved("/a/.").as_deref(), Ok("/srv/a/index.html"));
    }

    #[test]
    fn nothing_leads_up() {
        for path in ["/..", "/a/../b", "/%2e%2e/x", "/.%2E", "/a/..%2f..", "/%2fetc", "/a%00"] {
            assert!(matches!(resolved(path), Err(403 | 404)), "{path}");
        }
        for path in ["/%", "/%4", "/%zz", "/%+1", "a", ""] {
            assert_eq!(resolved(path), Err(400), "{path}");
        }
    }
}
