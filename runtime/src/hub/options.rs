//! Where a hub is, who asks, and where downloads go.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{HubError, address::shown, expand::expand};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// No timeout is longer: clocks cannot count as far as some numbers go.
pub(super) const LONGEST_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How to reach a hub and where to keep what it gives.
///
/// [`HubOptions::from_env`] reads the same environment variables as `huggingface_hub` for Python, so that tools
/// share their cache and their token.
#[derive(Clone)]
pub struct HubOptions {
    /// Address of the hub, without a `/` at its end; `https://huggingface.co` unless `HF_ENDPOINT` says otherwise. A name
    /// and password in it (`https://NAME:PASSWORD@HOST`) are sent to that host in place of the token; neither [`Debug`]
    /// nor an error shows them.
    pub endpoint: String,
    /// Sent to the hub with every request, and to no other host.
    pub token: Option<Token>,
    /// The cache: `HF_HUB_CACHE`, or `$HF_HOME/hub`, or `~/.cache/huggingface/hub`. As in Python, `~` and `$NAME` stand
    /// for directories in these variables.
    pub cache: PathBuf,
    /// Use the cache alone: `HF_HUB_OFFLINE` or, where that is not set, `TRANSFORMERS_OFFLINE` is `1`, `true`, `yes` or
    /// `on`.
    pub offline: bool,
    /// Files that are downloaded at the same time; 8.
    pub workers: usize,
    /// How often a request is tried without getting anywhere; 5.
    pub attempts: u32,
    /// Wait after the first failed attempt; it doubles with each. 1 second.
    pub backoff: Duration,
    /// Longest wait that the hub may ask for; a longer one is an error. 5 minutes.
    pub longest_wait: Duration,
    /// Longest silence of a connection that downloads; 30 seconds unless `HF_HUB_DOWNLOAD_TIMEOUT` says otherwise. In
    /// every such span at least 1 KiB a second has to come.
    pub timeout: Duration,
    /// The same for questions about a model and its files, whose whole answer may take ten times as long; 30 seconds
    /// unless `HF_HUB_ETAG_TIMEOUT` says otherwise.
    pub etag_timeout: Duration,
}

impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("endpoint", &shown(&self.endpoint))
            .field("token", &self.token)
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .field("workers", &self.workers)
            .field("attempts", &self.attempts)
            .field("backoff", &self.backoff)
            .field("longest_wait", &self.longest_wait)
            .field("timeout", &self.timeout)
            .field("etag_timeout", &self.etag_timeout)
            .finish()
    }
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
        let set = |name: &str| var(name).filter(|v| !v.is_empty());
        let path = |name: &str| set(name).map(|value| expand(&value, &var));
        let is_true = |name: &str| -> Result<bool, HubError> {
            let value = text(name)?.unwrap_or_default().to_uppercase();
            Ok(["1", "ON", "YES", "TRUE"].contains(&value.as_str()))
        };
        let home = path("HF_HOME")
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("huggingface")))
            .or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache/huggingface")));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home.as_ref()?.join("hub")))
            .ok_or_else(|| HubError::Setting {
                setting: "HF_HUB_CACHE".to_owned(),
                problem: "nothing says where downloads go; set it, or HF_HOME, or HOME".to_owned(),
            })?;
        // The first that is set decides, also where it says no.
        let offline = match set("HF_HUB_OFFLINE") {
            Some(_) => "HF_HUB_OFFLINE",
            None => "TRANSFORMERS_OFFLINE",
        };

        let endpoint = text("HF_ENDPOINT")?.unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(HubError::Setting {
                setting: "HF_ENDPOINT".to_owned(),
                problem: format!(
                    "`{}` does not start with https:// or http://",
                    shown(&endpoint)
                ),
            });
        }
        let timeout = |name: &str| match text(name)? {
            None => Ok(DEFAULT_TIMEOUT),
            Some(value) => seconds(&value).ok_or_else(|| HubError::Setting {
                setting: name.to_owned(),
                problem: format!(
                    "`{value}` is not a whole number of seconds; 0 stands for the default"
                ),
            }),
        };
        Ok(Self {
            endpoint,
            token: match is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")? {
                true => None,
                false => find_token(&text, path("HF_TOKEN_PATH"), home.as_deref())?,
            },
            offline: is_true(offline)?,
            timeout: timeout("HF_HUB_DOWNLOAD_TIMEOUT")?,
            etag_timeout: timeout("HF_HUB_ETAG_TIMEOUT")?,
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
            timeout: DEFAULT_TIMEOUT,
            etag_timeout: DEFAULT_TIMEOUT,
        }
    }
}

/// The token, from `HF_TOKEN` or from the file that `hf auth login` writes.
fn find_token(
    text: &impl Fn(&str) -> Result<Option<String>, HubError>,
    token_path: Option<PathBuf>,
    home: Option<&Path>,
) -> Result<Option<Token>, HubError> {
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(value) = text(name)? {
            return Token::new(&value, name);
        }
    }
    let path = token_path.or_else(|| Some(home?.join("token")));
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

/// Seconds as `huggingface_hub` reads them: with Python's `int`, where 0 stands for the default. What is below 0 fails
/// there at the first request, and here at once.
fn seconds(value: &str) -> Option<Duration> {
    let value = value.trim();
    let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
    let mut groups = digits.split('_');
    if !groups.all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let digits = digits.replace('_', "");
    match digits.trim_start_matches('0') {
        "" => Some(DEFAULT_TIMEOUT),
        _ if value.starts_with('-') => None,
        // A number that is too large for this type is longer than the longest, too.
        digits => {
            Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)).min(LONGEST_TIMEOUT))
        }
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
            (&[("S", "/s"), ("HF_HOME", "$S/hf")], "/s/hf/hub"),
            (
                &[("S", "/s"), ("HOME", "/u"), ("HF_HUB_CACHE", "~/${S}x")],
                "/u//sx",
            ),
            (
                &[("HOME", "/u"), ("XDG_CACHE_HOME", "~/c")],
                "/u/c/huggingface/hub",
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
        for (name, value) in [("HF_ENDPOINT", "hub"), ("HF_TOKEN", "hf_ä secret")] {
            let text = options(name, value).unwrap_err().to_string();
            assert!(text.contains(name) && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn timeouts() {
        let cases = [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("+7", Some(7)),
            ("1_000", Some(1000)),
            ("007", Some(7)),
            ("0", Some(30)),
            ("-0", Some(30)),
            ("", Some(30)),
            ("1000000000", Some(LONGEST_TIMEOUT.as_secs())),
            ("18446744073709551615", Some(LONGEST_TIMEOUT.as_secs())),
            (
                "99999999999999999999999999",
                Some(LONGEST_TIMEOUT.as_secs()),
            ),
            ("-5", None),
            ("0.5", None),
            ("1e3", None),
            ("inf", None),
            ("nan", None),
            ("ten", None),
            ("1__0", None),
            ("_1", None),
            ("1 0", None),
            (" ", None),
        ];
        for name in ["HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"] {
            for (value, expected) in cases {
                let found = options(&[("HF_HUB_CACHE", "/c"), (name, value)]);
                let Some(expected) = expected else {
                    let text = found.unwrap_err().to_string();
                    assert!(text.contains(name) && text.contains("seconds"), "{text}");
                    continue;
                };
                let found = found.unwrap();
                let (set, other) = match name {
                    "HF_HUB_ETAG_TIMEOUT" => (found.etag_timeout, found.timeout),
                    _ => (found.timeout, found.etag_timeout),
                };
                assert_eq!(
                    (set.as_secs(), other.as_secs()),
                    (expected, 30),
                    "{name}={value}"
                );
            }
        }
    }

    /// As `huggingface_hub.constants.HF_HUB_OFFLINE` is for the same variables.
    #[test]
    fn one_rule_for_offline() {
        let cases = [
            (None, None, false),
            (Some("1"), None, true),
            (Some("true"), None, true),
            (Some("Yes"), None, true),
            (Some("ON"), None, true),
            (Some("2"), None, false),
            (Some("y"), None, false),
            (Some(" 1"), None, false),
            (None, Some("1"), true),
            (Some(""), Some("on"), true),
            (Some("0"), Some("1"), false),
            (Some("no"), Some("1"), false),
            (Some("1"), Some("0"), true),
        ];
        for (hub, transformers, offline) in cases {
            let mut vars = vec![("HF_HUB_CACHE", "/c"), ("HF_DATASETS_OFFLINE", "1")];
            vars.extend(hub.map(|value| ("HF_HUB_OFFLINE", value)));
            vars.extend(transformers.map(|value| ("TRANSFORMERS_OFFLINE", value)));
            assert_eq!(options(&vars).unwrap().offline, offline, "{vars:?}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        for endpoint in [
            "https://user:secret@hub",
            "user:secret@hub",
            "https:/user:secret@hub",
        ] {
            let shown = match options(&[("HF_HUB_CACHE", "/c"), ("HF_ENDPOINT", endpoint)]) {
                Ok(options) => format!("{options:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(
                shown.contains("hub") && !shown.contains("secret"),
                "{shown}"
            );
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
