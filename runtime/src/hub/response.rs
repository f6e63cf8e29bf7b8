//! What a hub's answer says in its headers.

use std::time::Duration;

use jiff::Timestamp;
use ureq::{Body, http::HeaderMap};

/// An answer with status 2xx.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Response {
    /// A header's value, when it is plain text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// How the body is packed, when it is.
    pub(super) fn packed(&self) -> Option<&str> {
        self.header("content-encoding")
            .filter(|packed| !packed.trim().eq_ignore_ascii_case("identity"))
    }
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The address of the next page in a `Link` header (RFC 8288): `<https://…>; rel="next"`, among others.
pub(super) fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((link, after)) = rest.split_once('<')?.1.split_once('>') {
        let parameters = after.split_once('<').map_or(after, |(before, _)| before);
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel")
                && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(link);
        }
        rest = after;
    }
    None
}

/// How long the hub asks to wait: `Retry-After` in seconds or as a date, or the reset in `RateLimit`
/// (`"api";r=0;t=55`).
pub(super) fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    if let Some(value) = header(headers, "retry-after") {
        if let Ok(seconds) = value.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
        let seconds = date.as_second() - Timestamp::now().as_second();
        return Some(Duration::from_secs(seconds.try_into().unwrap_or(0)));
    }
    let limit = header(headers, "ratelimit")?;
    let reset = limit
        .split(';')
        .find_map(|part| part.trim().strip_prefix("t="))?;
    reset.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        let wait = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            asked_wait(&headers)
        };
        assert_eq!(wait("retry-after", "7").unwrap().as_secs(), 7);
        assert_eq!(
            wait("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")
                .unwrap()
                .as_secs(),
            0
        );
        let far = wait("retry-after", "Fri, 01 Jan 2100 00:00:00 GMT").unwrap();
        assert!(far > Duration::from_secs(3600));
        assert_eq!(wait("retry-after", "soon"), None);
        assert_eq!(wait("ratelimit", "\"api\";r=0;t=55").unwrap().as_secs(), 55);
        assert_eq!(wait("etag", "x"), None);
    }

    #[test]
    fn next_pages() {
        for (header, expected) in [
            (
                "<https://hub/x?a=1,2;b>; rel=\"next\"",
                Some("https://hub/x?a=1,2;b"),
            ),
            (
                "<p>; rel=prev, <n>; title=\"x\"; rel=\"last NEXT\"",
                Some("n"),
            ),
            ("</n>;REL=next", Some("/n")),
            ("<p>; rel=\"prev\"", None),
            ("<p>", None),
            ("<n; rel=next", None),
            ("n; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), expected, "{header}");
        }
    }
}
