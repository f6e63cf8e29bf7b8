//! What the head of an answer says of the bytes that follow, where the server says it, and says it right.

use super::response::Response;

/// Bytes of a file that an answer brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Where they begin.
    pub(super) start: u64,
    /// Where they end, when that is stated.
    pub(super) end: Option<u64>,
    /// The size of the whole file, when that is stated.
    pub(super) total: Option<u64>,
    /// Whether the server said where they begin; else it is taken for granted.
    pub(super) is_told: bool,
    /// Whether a connection that is cut shows.
    pub(super) has_end: bool,
}

/// The head of an answer to a request for the bytes from `from` on.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) status: u16,
    pub(super) from: u64,
    /// `Content-Range`.
    pub(super) range: Option<&'a str>,
    /// `Content-Length`.
    pub(super) length: Option<u64>,
    /// Whether the bytes come in chunks, of which the last one is marked.
    pub(super) is_chunked: bool,
    /// Whether the answer holds several ranges, with headers between them.
    pub(super) is_multipart: bool,
}

impl<'a> Head<'a> {
    pub(super) fn of(response: &'a Response, from: u64) -> Self {
        let has = |name, part: &str| {
            let value = response.header(name).unwrap_or_default();
            value.to_ascii_lowercase().contains(part)
        };
        let is_chunked = has("transfer-encoding", "chunked");
        let length = response.header("content-length").filter(|_| !is_chunked);
        Self {
            status: response.status,
            from,
            range: response.header("content-range"),
            length: length.and_then(|length| length.trim().parse().ok()),
            is_chunked,
            is_multipart: has("content-type", "multipart/byteranges"),
        }
    }

    /// The part that the answer brings of a file of `size` bytes, as far as that is known; `None` when it is of no use.
    pub(super) fn part(&self, size: Option<u64>) -> Option<Part> {
        if self.is_multipart || self.status == 416 {
            return None;
        }
        let part = |start: u64, is_told| {
            let end = self.length.map(|length| start.saturating_add(length));
            Part {
                start,
                end,
                total: None,
                is_told,
                has_end: end.is_some() || self.is_chunked,
            }
        };
        let stated = self.range.and_then(content_range);
        // The whole file can have the length that is asked for only from its start.
        let is_rest =
            |length: u64| size.is_some_and(|size| self.from.checked_add(length) == Some(size));
        match (self.status, stated) {
            (206, Some((start, end, total))) => {
                (start <= self.from && end > self.from).then_some(Part {
                    start,
                    end: Some(end),
                    total,
                    is_told: true,
                    has_end: true,
                })
            }
            (206, None) => match self.length {
                Some(length) if self.from > 0 && Some(length) == size => Some(part(0, false)),
                _ => Some(part(self.from, false)),
            },
            (_, _) => match self.length {
                Some(length) if self.from > 0 && is_rest(length) => Some(part(self.from, false)),
                _ => Some(Part {
                    total: self.length,
                    ..part(0, true)
                }),
            },
        }
    }
}

/// `bytes FIRST-LAST/TOTAL` as where the bytes begin and end, and the size of the file unless that is `*`.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let text = text.trim();
    let unit = text.get(..5)?;
    let range = text.get(5..)?.trim_start_matches(['=', ' ']);
    let (range, total) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (first, end) = (number(first)?, number(last)?.checked_add(1)?);
    let total = match total.trim() {
        "*" => None,
        total => Some(number(total)?),
    };
    let fits = unit.eq_ignore_ascii_case("bytes") && first < end && total.is_none_or(|t| end <= t);
    fits.then_some((first, end, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let cases = [
            ("bytes 5-9/10", Some((5, 10, Some(10)))),
            ("Bytes 5-9/*", Some((5, 10, None))),
            (" bytes  5-9/10 ", Some((5, 10, Some(10)))),
            ("bytes=5-9/10", Some((5, 10, Some(10)))),
            ("bytes */10", None),
            ("bytes 9-5/10", None),
            ("bytes 5-10/10", None),
            ("bytes 5-18446744073709551615/*", None),
            ("items 5-9/10", None),
            ("bytes", None),
            ("", None),
            ("ä", None),
        ];
        for (text, expected) in cases {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }

    #[test]
    fn parts() {
        // Of a file of ten bytes, five of which are here.
        let part = |status, range, length, is_chunked| {
            let head = Head {
                status,
                from: 5,
                range,
                length,
                is_chunked,
                is_multipart: false,
            };
            head.part(Some(10)).map(|p| (p.start, p.end, p.is_told))
        };
        let cases = [
            (
                206,
                Some("bytes 5-9/10"),
                Some(5),
                Some((5, Some(10), true)),
            ),
            (206, Some("bytes 5-6/10"), None, Some((5, Some(7), true))),
            (206, Some("bytes 0-9/10"), None, Some((0, Some(10), true))),
            (206, Some("bytes 6-9/10"), None, None),
            (206, Some("bytes 0-4/10"), None, None),
            (206, Some("nonsense"), Some(5), Some((5, Some(10), false))),
            (206, None, Some(5), Some((5, Some(10), false))),
            (206, None, Some(10), Some((0, Some(10), false))),
            (206, None, None, Some((5, None, false))),
            (200, None, Some(10), Some((0, Some(10), true))),
            (200, None, Some(5), Some((5, Some(10), false))),
            (200, None, None, Some((0, None, true))),
            (416, Some("bytes */10"), Some(0), None),
        ];
        for (status, range, length, expected) in cases {
            assert_eq!(
                part(status, range, length, true),
                expected,
                "{status} {range:?} {length:?}"
            );
        }
    }
}
