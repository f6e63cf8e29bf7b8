//! Addresses: what of them is asked, what is secret, and what is shown.

use percent_encoding::percent_decode_str;
use ureq::http::Uri;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A hub's address without the name and password that may stand in it, and the header that they make.
pub(super) fn split_login(endpoint: &str) -> (String, Option<String>) {
    let (start, authority, rest) = parts(endpoint);
    let Some((login, host)) = authority.rsplit_once('@') else {
        return (endpoint.to_owned(), None);
    };
    let (name, password) = login.split_once(':').unwrap_or((login, ""));
    let mut pair: Vec<u8> = percent_decode_str(name).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let header = format!("Basic {}", base64(&pair));
    (format!("{start}{host}{rest}"), Some(header))
}

/// An address as it may be shown: without login and query, where passwords and signatures stand.
pub(super) fn shown(address: &str) -> String {
    let (start, authority, rest) = parts(address);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    // Of a text that is no address, what stands before an `@` may be a password all the same.
    let text = format!("{authority}{path}");
    match text.rsplit_once('@') {
        Some((_, text)) => format!("{start}...@{text}"),
        None => format!("{start}{text}"),
    }
}

/// The scheme with its slashes, name and host, and all that follows.
fn parts(address: &str) -> (&str, &str, &str) {
    let start = address.find("//").map_or(0, |at| at + 2);
    let (start, rest) = address.split_at(start);
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    (start, authority, rest)
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, at| {
            bits << 8 | usize::from(group.get(at).copied().unwrap_or(0))
        });
        for place in 0..4 {
            let digit = BASE64.get(bits >> (18 - 6 * place) & 63);
            text.push(match digit {
                Some(digit) if place <= group.len() => char::from(*digit),
                _ => '=',
            });
        }
    }
    text
}

pub(super) fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| {
        uri.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            Some("http") => Some(80),
            _ => None,
        })
    };
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// The address that a `Location` header means, seen from `base` (RFC 3986, section 5). A login in it is left out: no
/// hub is told to log in elsewhere.
pub(super) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let authority = base.authority()?.as_str();
    let text = if let Some(named) = scheme_of(location) {
        if !named.eq_ignore_ascii_case("http") && !named.eq_ignore_ascii_case("https") {
            return None;
        }
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = base
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let uri: Uri = split_login(&text).0.parse().ok()?;
    uri.host()
        .is_some_and(|host| !host.is_empty())
        .then_some(uri)
}

/// The scheme of an address that has one.
fn scheme_of(location: &str) -> Option<&str> {
    let (scheme, _) = location.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then_some(scheme)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let base: Uri = "https://hub/a/resolve/main/f?x=1".parse().unwrap();
        let cases = [
            ("https://cdn/b?s=%2F", "https://cdn/b?s=%2F"),
            ("HTTP://cdn/b", "http://cdn/b"),
            ("//cdn/b", "https://cdn/b"),
            ("/b/f", "https://hub/b/f"),
            ("/b:c/f", "https://hub/b:c/f"),
            ("g", "https://hub/a/resolve/main/g"),
            ("https://name:secret@cdn/b", "https://cdn/b"),
        ];
        for (location, expected) in cases {
            assert_eq!(resolve(&base, location).unwrap(), expected);
        }
        for location in [
            "/a b",
            "ftp://cdn/b",
            "file:///etc/passwd",
            "https://",
            "https:///x",
        ] {
            assert!(resolve(&base, location).is_none(), "{location}");
        }
    }

    #[test]
    fn origins() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        assert!(same_origin(
            &uri("https://hub/a"),
            &uri("https://HUB:443/b")
        ));
        for other in [
            "http://hub",
            "https://hub:8443",
            "https://hub.cdn",
            "https://cdn",
        ] {
            assert!(!same_origin(&uri("https://hub"), &uri(other)), "{other}");
        }
    }

    #[test]
    fn logins() {
        let cases = [
            ("https://hub/x", "https://hub/x", None),
            // As `printf 'user:pass' | base64` says, and so on.
            (
                "https://user:pass@hub:8/x",
                "https://hub:8/x",
                Some("Basic dXNlcjpwYXNz"),
            ),
            ("http://token@hub", "http://hub", Some("Basic dG9rZW46")),
            ("http://a:b%40c@hub", "http://hub", Some("Basic YTpiQGM=")),
            ("http://a:b@c@hub", "http://hub", Some("Basic YTpiQGM=")),
            ("http://u:p@[::1]:80", "http://[::1]:80", Some("Basic dTpw")),
            ("https://hub/a@b", "https://hub/a@b", None),
        ];
        for (endpoint, address, login) in cases {
            let (found, header) = split_login(endpoint);
            assert_eq!(
                (found.as_str(), header.as_deref()),
                (address, login),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let cases = [
            ("https://hub/a/b", "https://hub/a/b"),
            ("https://user:secret@hub/a", "https://...@hub/a"),
            ("https://cdn/b?signature=secret#secret", "https://cdn/b"),
            ("//user:secret@cdn", "//...@cdn"),
            ("user:secret@hub", "...@hub"),
            ("https:/user:secret@hub", "...@hub"),
            ("https://user:sec/ret@hub", "https://...@hub"),
            ("hub", "hub"),
        ];
        for (address, expected) in cases {
            assert_eq!(shown(address), expected);
        }
    }
}
