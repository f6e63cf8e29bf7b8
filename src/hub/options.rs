//! Where a hub is, who asks, and where downloads go.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::HubError;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// How to reach a hub and where to keep what it gives.
///
/// [`HubOptions::from_env`] reads the same environment variables as `huggingface_hub` for Python, so that tools
/// share their cache and their token.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// Address of the hub, without a `/` at its end; `https://huggingface.co` unless `HF_ENDPOINT` says otherwise.
    pub endpoint: String,
    /// Sent to the hub with every request, and to no other host.
    pub token: Option<Token>,
    /// The cache: `HF_HUB_CACHE`, or `$HF_HOME/hub`, or `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// Use the cache alone: `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// Files that are downloaded at the same time; 8.
    pub workers: usize,
    /// How often a request is tried without getting anywhere; 5.
    pub attempts: u32,
    /// Wait after the first failed attempt; it doubles with each. 1 second.
    pub backoff: Duration,
    /// Longest wait that the hub may ask for; a longer one is an error. 5 minutes.
    pub longest_wait: Duration,
    /// Longest silence of a connection; 30 seconds unless `HF_HUB_DOWNLOAD_TIMEOUT` says otherwise.
    pub timeout: Duration,
}

impl HubOptions {
    /// The options that the environment asks for.
    ///
    /// # Errors
    /// [`HubError::Setting`] for a value that makes no sense, and when no variable says where the cache is.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_vars(|name| env::var_os(name))
    }

    fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let text = |name: &str| {
            var(name)
                .map(|value| {
                    value.into_string().map_err(|_| HubError::Setting {
                        setting: name.to_owned(),
                        problem: "is not UTF-8".to_owned(),
                    })
                })
                .transpose()
                .map(|value| value.filter(|v| !v.is_empty()))
        };
        let path = |name: &str| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let is_true = |name: &str| -> Result<bool, HubError> {
            let value = text(name)?.unwrap_or_default().to_uppercase();
            Ok(["1", "ON", "YES", "TRUE"].contains(&value.as_str()))
        };
        let user = path("HOME");
        let home = path("HF_HOME")
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("huggingface")))
            .or_else(|| Some(user.as_ref()?.join(".cache/huggingface")))
            .map(|home| expand(home, user.as_deref()));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .map(|cache| expand(cache, user.as_deref()))
            .or_else(|| Some(home.as_ref()?.join("hub")))
            .ok_or_else(|| HubError::Setting {
                setting: "HF_HUB_CACHE".to_owned(),
                problem: "nothing says where downloads go; set it, or HF_HOME, or HOME".to_owned(),
            })?;

        let endpoint = text("HF_ENDPOINT")?.unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(HubError::Setting {
                setting: "HF_ENDPOINT".to_owned(),
                problem: format!("`{endpoint}` does not start with https:// or http://"),
            });
        }
        let timeout = match text("HF_HUB_DOWNLOAD_TIMEOUT")? {
            None => 30,
            Some(value) => value
                .parse()
                .ok()
                .filter(|seconds| *seconds > 0)
                .ok_or_else(|| HubError::Setting {
                    setting: "HF_HUB_DOWNLOAD_TIMEOUT".to_owned(),
                    problem: format!("`{value}` is not a whole number of seconds above 0"),
                })?,
        };
        Ok(Self {
            endpoint,
            token: match is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")? {
                true => None,
                false => find_token(
                    &text,
                    path("HF_TOKEN_PATH"),
                    home.as_deref(),
                    user.as_deref(),
                )?,
            },
            offline: is_true("HF_HUB_OFFLINE")? || is_true("TRANSFORMERS_OFFLINE")?,
            timeout: Duration::from_secs(timeout),
            ..Self::with_cache(cache)
        })
    }

    /// Hugging Face's own hub without a token, with downloads in `cache`; nothing is read from the environment.
    #[must_use]
    pub fn with_cache(cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            token: None,
            cache: cache.into(),
            offline: false,
            workers: 8,
            attempts: 5,
            backoff: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
            timeout: Duration::from_secs(30),
        }
    }
}

/// The token, from `HF_TOKEN` or from the file that `hf auth login` writes.
fn find_token(
    text: &impl Fn(&str) -> Result<Option<String>, HubError>,
    token_path: Option<PathBuf>,
    home: Option<&Path>,
    user: Option<&Path>,
) -> Result<Option<Token>, HubError> {
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(value) = text(name)? {
            return Token::new(&value, name);
        }
    }
    let path = token_path
        .map(|path| expand(path, user))
        .or_else(|| Some(home?.join("token")));
    let Some(path) = path else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(value) => Token::new(&value, &path.display().to_string()),
        // Most who download public models have none.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HubError::Cache {
            path,
            action: "read the token",
            source,
        }),
    }
}

/// `~` at the start of a path, as `huggingface_hub` reads it.
fn expand(path: PathBuf, user: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), user) {
        (Ok(rest), Some(user)) => user.join(rest),
        _ => path,
    }
}

/// A secret that says who asks. Neither [`Debug`] nor an error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: String,
    from: String,
}

impl Token {
    /// A token and where it comes from, for error messages; `None` when there is nothing but white space.
    ///
    /// # Errors
    /// [`HubError::Setting`], which names `from`, for characters that no token has.
    pub fn new(secret: &str, from: &str) -> Result<Option<Self>, HubError> {
        let secret = secret.trim();
        if !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(HubError::Setting {
                setting: from.to_owned(),
                problem: "its value is not a token: it holds characters that no token has"
                    .to_owned(),
            });
        }
        Ok((!secret.is_empty()).then(|| Self {
            secret: secret.to_owned(),
            from: from.to_owned(),
        }))
    }

    /// Where it comes from: an environment variable or a file.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.from
    }

    pub(super) fn authorization(&self) -> String {
        format!("Bearer {}", self.secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(from {})", self.from)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(vars: &[(&str, &str)]) -> Result<HubOptions, HubError> {
        HubOptions::from_vars(|name| {
            let (_, value) = vars.iter().find(|(key, _)| *key == name)?;
            Some(OsString::from(value))
        })
    }

    #[test]
    fn places_of_the_cache() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("HOME", "/u")], "/u/.cache/huggingface/hub"),
            (
                &[("HOME", "/u"), ("XDG_CACHE_HOME", "/x")],
                "/x/huggingface/hub",
            ),
            (&[("HOME", "/u"), ("HF_HOME", "~/h")], "/u/h/hub"),
            (
                &[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")],
                "/old",
            ),
            (
                &[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/c")],
                "/c",
            ),
            (
                &[("HOME", "/u"), ("HF_HUB_CACHE", "")],
                "/u/.cache/huggingface/hub",
            ),
        ];
        for (vars, cache) in cases {
            assert_eq!(options(vars).unwrap().cache, Path::new(cache), "{vars:?}");
        }
        assert!(
            options(&[])
                .unwrap_err()
                .to_string()
                .contains("HF_HUB_CACHE")
        );
    }

    #[test]
    fn places_of_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        let at = |vars: &[(&str, &str)]| {
            let vars = [&[("HF_HOME", home)], vars].concat();
            options(&vars)
                .unwrap()
                .token
                .map(|token| token.authorization())
        };
        assert_eq!(at(&[]), None);
        fs::write(dir.path().join("token"), "from_file\n").unwrap();
        assert_eq!(at(&[]).unwrap(), "Bearer from_file");
        assert_eq!(at(&[("HF_TOKEN", " set ")]).unwrap(), "Bearer set");
        assert_eq!(
            at(&[("HF_TOKEN", "set"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]),
            None
        );
        let other = dir.path().join("other");
        fs::write(&other, "other").unwrap();
        assert_eq!(
            at(&[("HF_TOKEN_PATH", other.to_str().unwrap())]).unwrap(),
            "Bearer other"
        );
    }

    #[test]
    fn settings() {
        let base = ("HF_HUB_CACHE", "/c");
        let options = |name, value| options(&[base, (name, value)]);
        assert_eq!(
            options("HF_ENDPOINT", "http://hub/x/").unwrap().endpoint,
            "http://hub/x"
        );
        assert!(options("HF_HUB_OFFLINE", "yes").unwrap().offline);
        assert!(!options("HF_HUB_OFFLINE", "0").unwrap().offline);
        assert!(options("TRANSFORMERS_OFFLINE", "1").unwrap().offline);
        assert_eq!(
            options("HF_HUB_DOWNLOAD_TIMEOUT", "7")
                .unwrap()
                .timeout
                .as_secs(),
            7
        );
        for (name, value) in [
            ("HF_ENDPOINT", "hub"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "0"),
            ("HF_TOKEN", "hf_ä secret"),
        ] {
            let text = options(name, value).unwrap_err().to_string();
            assert!(text.contains(name) && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let options = options(&[("HF_HUB_CACHE", "/c"), ("HF_TOKEN", "hf_secret")]).unwrap();
        let shown = format!("{options:?}");
        assert!(
            shown.contains("HF_TOKEN") && !shown.contains("secret"),
            "{shown}"
        );
    }
}
