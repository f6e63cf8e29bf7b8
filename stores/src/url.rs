//! URLs of objects.

use std::{fmt, path::Path};

use crate::error::{StoreError, StoreErrorKind};

/// The schemes, and whose they are.
const SCHEMES: [(&str, Kind); 8] = [
    ("s3", Kind::S3),
    ("s3a", Kind::S3),
    ("gs", Kind::Google),
    ("az", Kind::Azure),
    ("abfs", Kind::Azure),
    ("abfss", Kind::Azure),
    ("adl", Kind::Azure),
    ("azure", Kind::Azure),
];

/// Whose store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    S3,
    Google,
    Azure,
}

impl Kind {
    /// What a bucket is called there.
    pub(crate) fn bucket(self) -> &'static str {
        match self {
            Self::S3 | Self::Google => "bucket",
            Self::Azure => "container",
        }
    }

    /// The environment variables that say who asks.
    pub(crate) fn credentials(self) -> &'static str {
        match self {
            Self::S3 => {
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones, AWS_SESSION_TOKEN (or \
                 AWS_SKIP_SIGNATURE=true for what anyone may read)"
            }
            Self::Google => {
                "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS, each with the path of a file (or \
                 GOOGLE_SKIP_SIGNATURE=true for what anyone may read)"
            }
            Self::Azure => {
                "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY (or \
                 AZURE_SKIP_SIGNATURE=true for what anyone may read)"
            }
        }
    }

    /// The environment variables that say whom to ask.
    pub(crate) fn endpoint(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ENDPOINT_URL and AWS_REGION",
            Self::Google => "GOOGLE_BASE_URL",
            Self::Azure => "AZURE_STORAGE_ENDPOINT",
        }
    }

    /// The variable without which nothing is asked over plain HTTP.
    pub(crate) fn allow_http(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ALLOW_HTTP",
            Self::Google => "GOOGLE_ALLOW_HTTP",
            Self::Azure => "AZURE_ALLOW_HTTP",
        }
    }
}

/// Whether a path is the URL of an object, or of some.
#[must_use]
pub fn is_url(path: &Path) -> bool {
    path.to_str().and_then(scheme).is_some()
}

fn scheme(text: &str) -> Option<(Kind, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let known = SCHEMES.iter().find(|(known, _)| *known == scheme);
    known.map(|(_, kind)| (*kind, rest))
}

/// A URL: a bucket, and a key in it as it is, without escapes. A pattern or a folder has none of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) kind: Kind,
    /// The scheme and the bucket, as in `s3://BUCKET`.
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        let wrong = |problem: &str| StoreError::new(text, StoreErrorKind::Url, problem);
        let (kind, rest) = scheme(text).ok_or_else(|| wrong("it is not the URL of an object"))?;
        let start = text.len() - rest.len();
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(wrong(&format!(
                "it names no {}, as in {}NAME/KEY",
                kind.bucket(),
                &text[..start]
            )));
        }
        let has_password = bucket
            .rsplit_once('@')
            .is_some_and(|(before, _)| before.contains(':'));
        if has_password || key.contains('?') && key.contains("sig=") {
            // Nothing of it is shown.
            let shown = format!("{}...", &text[..start]);
            let problem = format!(
                "a password or signature stands in it, which is not read there: give it in {}",
                kind.credentials()
            );
            return Err(StoreError::new(&shown, StoreErrorKind::Url, &problem));
        }
        Ok(Self {
            kind,
            bucket: text[..start + bucket.len()].to_owned(),
            key: key.to_owned(),
        })
    }

    /// Another object of the bucket.
    pub(crate) fn at(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// The key as the store is asked for it.
    pub(crate) fn path(&self) -> Result<object_store::path::Path, StoreError> {
        self.path_of(&self.key)
    }

    /// The key of a folder, without the `/` at its end.
    pub(crate) fn path_of(&self, key: &str) -> Result<object_store::path::Path, StoreError> {
        let problem = "its key has an empty part, or one that is `.` or `..`, or a character that no key may have";
        let wrong = || StoreError::new(&self.to_string(), StoreErrorKind::Url, problem);
        // The client would leave the `/` out, and ask for another object.
        if key.starts_with('/') {
            return Err(wrong());
        }
        let path = object_store::path::Path::parse(key.strip_suffix('/').unwrap_or(key));
        path.map_err(|_| wrong())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url = Url::parse("s3://b/a/b c%20*.jsonl").unwrap();
        assert_eq!(
            (url.bucket.as_str(), url.key.as_str()),
            ("s3://b", "a/b c%20*.jsonl")
        );
        assert_eq!(url.to_string(), "s3://b/a/b c%20*.jsonl");
        let url = Url::parse("abfss://c@a.dfs.core.windows.net/x/").unwrap();
        assert_eq!(url.bucket, "abfss://c@a.dfs.core.windows.net");
        assert_eq!((url.kind, url.key.as_str()), (Kind::Azure, "x/"));
        assert_eq!(Url::parse("gs://b").unwrap().key, "");
        for (path, expected) in [
            ("s3://b/k", true),
            ("az://c/k", true),
            ("https://host/k", false),
            ("s3:/b/k", false),
            ("data/x.jsonl", false),
            ("-", false),
        ] {
            assert_eq!(is_url(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn no_urls_and_nothing_secret() {
        for (text, part) in [
            ("s3://", "names no bucket"),
            ("az:///k", "names no container"),
            ("s3://name:secret@b/k", "password"),
            ("az://c/k?sv=1&sig=secret", "signature"),
        ] {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(
                error.contains(part) && !error.contains("secret@"),
                "{error}"
            );
            assert!(!error.contains("sig=secret"), "{error}");
        }
        for key in ["a//b", "a/../b", "/a"] {
            let url = Url::parse(&format!("s3://b/{key}")).unwrap();
            assert!(url.path().is_err(), "{key}");
        }
    }
}
