//! What a request is called: by its client, or else by the server.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that has it, in requests and replies.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Most characters of one that a client made.
const LONGEST: usize = 128;

/// The name of a request, which its reply and its log lines have too. Letters, digits and signs of ASCII without blanks.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's, where it is one that can stand in a log; else a new one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let theirs = headers.get(X_REQUEST_ID);
        match theirs.filter(|value| is_plain(value.as_bytes())) {
            Some(value) => Self(value.clone()),
            None => Self::random(),
        }
    }

    fn random() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut random = fastrand::u128(..);
        let mut text = [0; 32];
        for digit in &mut text {
            *digit = DIGITS[(random & 15) as usize];
            random >>= 4;
        }
        Self(HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("none")))
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_plain(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len())
        && id
            .iter()
            .all(|&byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn taken(id: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        RequestId::of(&headers).as_str().as_bytes() == id
    }

    #[test]
    fn plain_ones_are_taken() {
        assert!(taken(b"a"));
        assert!(taken(b"7c9e6679-7425-40de-944b-e07fc1f90ae7/3"));
        assert!(taken(&[b'x'; 128]));
        for bad in [&b""[..], b"a b", b"\"", b"\\", "é".as_bytes(), &[b'x'; 129]] {
            assert!(!taken(bad), "{bad:?}");
        }
    }

    #[test]
    fn others_are_made() {
        let [one, two] = [(); 2].map(|()| RequestId::of(&HeaderMap::new()).as_str().to_owned());
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
    }
}
