//! Conditional requests: RFC 9110, section 13.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::meta::Meta;
use crate::range::Wanted;

/// How long ago a file must have been changed for its date to be a strong validator: dates have no
/// fractions, so within the second it may have been changed again.
const SETTLED: Duration = Duration::from_secs(1);

/// What a request asks for, of whatever file.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// GET and not HEAD.
    pub(crate) get: bool,
    /// The headers, if one of them matters.
    headers: Option<HeaderMap>,
}

/// What is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Whole,
    Part(Range<u64>),
    NotModified,
    PreconditionFailed,
    /// None of the range is in the file.
    Unsatisfiable,
}

/// The headers that matter.
const CONDITIONS: [HeaderName; 5] = [
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::RANGE,
];

impl Asked {
    pub(crate) fn new(get: bool, headers: &HeaderMap) -> Self {
        let matters = CONDITIONS.iter().any(|name| headers.contains_key(name));
        Self { get, headers: matters.then(|| headers.clone()) }
    }

    /// In the order of section 13.2.2.
    pub(crate) fn decide(&self, meta: &Meta) -> Decision {
        let Some(headers) = &self.headers else { return Decision::Whole };
        let date = |name| headers.get(name).and_then(parse_date);
        if headers.contains_key(header::IF_MATCH) {
            if !any_tag(headers, header::IF_MATCH, |tag| tag == meta.tag) {
                return Decision::PreconditionFailed;
            }
        } else if let (Some(since), Some(modified)) =
            (date(header::IF_UNMODIFIED_SINCE), meta.modified)
            && modified > since
        {
            return Decision::PreconditionFailed;
        }
        if headers.contains_key(header::IF_NONE_MATCH) {
            let weak = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag) == meta.tag;
            if any_tag(headers, header::IF_NONE_MATCH, weak) {
                return Decision::NotModified;
            }
        } else if let (Some(since), Some(modified)) =
            (date(header::IF_MODIFIED_SINCE), meta.modified)
            && modified <= since
        {
            return Decision::NotModified;
        }
        self.part(headers, meta)
    }

    /// Only GET has ranges.
    fn part(&self, headers: &HeaderMap, meta: &Meta) -> Decision {
        let range = headers.get(header::RANGE).filter(|_| self.get);
        let Some(wanted) = range.and_then(Wanted::parse) else { return Decision::Whole };
        match headers.get(header::IF_RANGE) {
            Some(validator) if !is_current(validator, meta) => Decision::Whole,
            _ => wanted.of(meta.size).map_or(Decision::Unsatisfiable, Decision::Part),
        }
    }
}

/// True if `If-Range` names what the file is now: by a strong tag, or by a date that is one.
fn is_current(validator: &HeaderValue, meta: &Meta) -> bool {
    if validator.as_bytes() == meta.tag.as_bytes() {
        return true;
    }
    let settled = |modified: &SystemTime| modified.elapsed().is_ok_and(|age| age > SETTLED);
    parse_date(validator).is_some_and(|date| meta.modified.filter(settled) == Some(date))
}

fn parse_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// True if one of the tags in the header is `*`, or one that `fits`.
fn any_tag(headers: &HeaderMap, name: HeaderName, fits: impl Fn(&str) -> bool) -> bool {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    // Commas in other tags do no harm: no piece of one has our quotes at both ends.
    texts.flat_map(|text| text.split(',')).map(str::trim).any(|tag| tag == "*" || fits(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn decided(get: bool, headers: &[(&str, &str)]) -> Decision {
        let modified = Some(UNIX_EPOCH + Duration::from_secs(784_111_777));
        let meta = Meta { size: 10, tag: "\"a-1\"".to_owned(), modified };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        Asked::new(get, &map).decide(&meta)
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for (name, value) in [
            ("if-none-match", "\"a-1\""),
            ("if-none-match", "W/\"a-1\""),
            ("if-none-match", "\"b,\", \"a-1\""),
            ("if-none-match", "*"),
            ("if-modified-since", DATE),
            ("if-modified-since", LATER),
        ] {
            assert_eq!(decided(true, &[(name, value)]), Decision::NotModified, "{name}: {value}");
        }
        for (name, value) in
            [("if-none-match", "\"b\""), ("if-modified-since", EARLIER), ("if-modified-since", "?")]
        {
            assert_eq!(decided(true, &[(name, value)]), Decision::Whole, "{name}: {value}");
        }
        // The tag knows better than the date.
        let both = [("if-none-match", "\"b\""), ("if-modified-since", LATER)];
        assert_eq!(decided(true, &both), Decision::Whole);
    }

    #[test]
    fn what_the_client_counts_on_is_checked() {
        for (name, value) in
            [("if-match", "\"b\""), ("if-match", "W/\"a-1\""), ("if-unmodified-since", EARLIER)]
        {
            let decision = decided(true, &[(name, value)]);
            assert_eq!(decision, Decision::PreconditionFailed, "{name}: {value}");
        }
        for (name, value) in
            [("if-match", "\"a-1\""), ("if-match", "*"), ("if-unmodified-since", DATE)]
        {
            assert_eq!(decided(true, &[(name, value)]), Decision::Whole, "{name}: {value}");
        }
    }

    #[test]
    fn parts_are_of_the_file_that_is_meant() {
        let part = |validator| decided(true, &[("range", "bytes=2-3"), ("if-range", validator)]);
        assert_eq!(part("\"a-1\""), Decision::Part(2..4));
        assert_eq!(part(DATE), Decision::Part(2..4));
        for other in ["\"b\"", "W/\"a-1\"", LATER, EARLIER, "?"] {
            assert_eq!(part(other), Decision::Whole, "{other}");
        }
        assert_eq!(decided(true, &[("range", "bytes=10-")]), Decision::Unsatisfiable);
        assert_eq!(decided(false, &[("range", "bytes=2-3")]), Decision::Whole, "HEAD has none");
    }
}
