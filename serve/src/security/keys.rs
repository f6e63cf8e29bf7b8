//! Keys that clients show.

use std::{fs, path::Path};

use http::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::error::ServeError;

/// A key that clients may show. Only its digest is kept.
#[derive(Clone)]
pub struct ApiKey {
    name: String,
    digest: [u8; 32],
    is_admin: bool,
}

impl ApiKey {
    /// A key under a name, which is for logs.
    #[must_use]
    pub fn new(name: impl Into<String>, key: &str) -> Self {
        Self {
            name: name.into(),
            digest: Sha256::digest(key.as_bytes()).into(),
            is_admin: false,
        }
    }

    /// The same, for whoever runs the server: it also permits `/admin/reload`.
    #[must_use]
    pub fn admin(mut self) -> Self {
        self.is_admin = true;
        self
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey")
            .field("name", &self.name)
            .field("is_admin", &self.is_admin)
            .finish_non_exhaustive()
    }
}

/// All keys of a server.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<ApiKey>);

/// A key that was shown and is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) index: usize,
    pub(super) is_admin: bool,
}

impl Keys {
    /// # Errors
    /// [`ServeError::Option`] for an empty key, and for a file that cannot be read, or that has no key.
    pub(super) fn load(given: &[ApiKey], file: Option<&Path>) -> Result<Self, ServeError> {
        let mut keys = given.to_vec();
        let nothing: [u8; 32] = Sha256::digest(b"").into();
        if let Some(empty) = keys.iter().find(|key| key.digest == nothing) {
            return Err(ServeError::Option {
                option: "api-keys",
                problem: format!(
                    "the key `{}` is empty: set it, or leave it out to serve everyone",
                    empty.name
                ),
            });
        }
        if let Some(path) = file {
            let bad = |problem| ServeError::Option {
                option: "api-key-file",
                problem: format!("{}: {problem}", path.display()),
            };
            let text = fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
            let before = keys.len();
            for (line, number) in text.lines().zip(1..) {
                keys.extend(parse(line, number).map_err(bad)?);
            }
            if keys.len() == before {
                return Err(bad("it has no key: write one a line".into()));
            }
        }
        Ok(Self(keys))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which key a request shows. Every key is compared, by its digest, so that the time shows neither which was right nor how
    /// much of it.
    pub(super) fn find(&self, shown: &[u8]) -> Option<Found> {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        let mut found = Choice::from(0);
        let mut which = 0_u64;
        for (index, key) in (0..).zip(&self.0) {
            let same = key.digest.ct_eq(&shown);
            which.conditional_assign(&index, same);
            found |= same;
        }
        let index = usize::try_from(which).ok()?;
        bool::from(found).then(|| Found {
            index,
            is_admin: self.0[index].is_admin,
        })
    }
}

/// `[admin ][NAME:]KEY`, or nothing.
fn parse(line: &str, number: usize) -> Result<Option<ApiKey>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (is_admin, rest) = match line.split_once(char::is_whitespace) {
        Some(("admin", rest)) => (true, rest.trim()),
        _ => (false, line),
    };
    let (name, key) = match rest.split_once(':') {
        Some((name, key)) => (name.trim().to_owned(), key.trim()),
        None => (format!("line {number}"), rest),
    };
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(format!(
            "line {number}: write a key without spaces, as in KEY, NAME:KEY or admin NAME:KEY"
        ));
    }
    let key = ApiKey::new(name, key);
    Ok(Some(if is_admin { key.admin() } else { key }))
}

/// The key in the headers of a request.
pub(super) fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme
            .eq_ignore_ascii_case(b"bearer ")
            .then(|| key.trim_ascii())
    });
    bearer.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines() {
        assert!(parse("", 1).unwrap().is_none());
        assert!(parse("  # a comment", 1).unwrap().is_none());
        for (line, name, key, is_admin) in [
            ("secret", "line 3", "secret", false),
            (" team : secret ", "team", "secret", false),
            ("team:a:b", "team", "a:b", false),
            ("admin secret", "line 3", "secret", true),
            ("admin ops:secret", "ops", "secret", true),
            ("admin:secret", "admin", "secret", false),
        ] {
            let parsed = parse(line, 3).unwrap().unwrap();
            assert_eq!(
                (parsed.name.as_str(), parsed.is_admin),
                (name, is_admin),
                "{line}"
            );
            assert!(Keys(vec![parsed]).find(key.as_bytes()).is_some(), "{line}");
        }
        for line in ["two words", "name:", "admin name:two words"] {
            let problem = parse(line, 3).unwrap_err();
            assert!(problem.starts_with("line 3: "), "{problem}");
            assert!(!problem.contains("two words"), "it shows the key");
        }
    }

    #[test]
    fn only_a_whole_key_is_right() {
        let keys = Keys(vec![
            ApiKey::new("a", "first"),
            ApiKey::new("b", "second").admin(),
        ]);
        let found = |index, is_admin| Some(Found { index, is_admin });
        assert_eq!(keys.find(b"first"), found(0, false));
        assert_eq!(keys.find(b"second"), found(1, true));
        for wrong in ["", "firs", "firsta", "FIRST", "first\0", "secondfirst"] {
            assert_eq!(keys.find(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Keys::default().find(b""), None);
        assert!(!format!("{keys:?}").contains("digest"));
    }
}
