//! Ranges of bytes: RFC 9110, section 14.

use std::ops::Range;

use hyper::header::HeaderValue;

/// What was asked for, before the length is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// From the first to the last byte, or to the end.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
}

impl Wanted {
    /// A single range. Nothing for several ranges, other units and what is malformed: a server may, and for
    /// the last must, answer as if there were no such header.
    pub(crate) fn parse(value: &HeaderValue) -> Option<Self> {
        let (unit, set) = value.to_str().ok()?.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = set.trim().split_once('-')?;
        match (number(first), number(last)) {
            (Some(first), None) if last.is_empty() => Some(Self::From(first, None)),
            (Some(first), Some(last)) if first <= last => Some(Self::From(first, Some(last))),
            (None, Some(count)) if first.is_empty() => Some(Self::Last(count)),
            _ => None,
        }
    }

    /// The bytes of a file of `size` bytes that are meant; nothing if it has none of them.
    pub(crate) fn of(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first, last) => {
                first..last.map_or(size, |last| last.saturating_add(1).min(size))
            }
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Digits only. A number that is too large for a file is the largest there is.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Wanted> {
        Wanted::parse(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn single_ranges_are_understood() {
        assert_eq!(parsed("bytes=0-0"), Some(Wanted::From(0, Some(0))));
        assert_eq!(parsed("Bytes=7-"), Some(Wanted::From(7, None)));
        assert_eq!(parsed("bytes=-5"), Some(Wanted::Last(5)));
        assert_eq!(
            parsed("bytes=0-99999999999999999999999"),
            Some(Wanted::From(0, Some(u64::MAX)))
        );
    }

    #[test]
    fn what_is_malformed_is_no_range() {
        for text in
            ["bytes", "bytes=", "bytes=-", "bytes=2-1", "bytes=a-", "bytes=+1-2", "lines=1-2"]
        {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert_eq!(parsed("bytes=0-1,3-4"), None, "several");
    }

    #[test]
    fn ranges_end_with_the_file() {
        assert_eq!(Wanted::From(2, Some(100)).of(10), Some(2..10));
        assert_eq!(Wanted::From(0, Some(u64::MAX)).of(10), Some(0..10));
        assert_eq!(Wanted::Last(100).of(10), Some(0..10));
        assert_eq!(Wanted::Last(3).of(10), Some(7..10));
        for nothing in [Wanted::From(10, None), Wanted::Last(0), Wanted::From(11, Some(12))] {
            assert_eq!(nothing.of(10), None, "{nothing:?}");
        }
        assert_eq!(Wanted::From(0, None).of(0), None);
    }
}
