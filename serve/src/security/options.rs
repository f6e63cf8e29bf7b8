//! What a server protects itself with.

use std::{path::PathBuf, time::Duration};

use super::keys::ApiKey;

/// Keys, certificates and limits of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SecurityOptions {
    /// Keys that clients may show, besides those of the file. Without any key, every client is served.
    pub api_keys: Vec<ApiKey>,
    /// A file of keys: one a line, as `KEY`, `NAME:KEY` or `admin NAME:KEY`; `#` begins a comment. Default: none.
    pub api_key_file: Option<PathBuf>,
    /// Whether `/metrics` needs a key too. Default: no.
    pub metrics_key: bool,
    /// The certificate of the TCP listeners. Default: none, which is HTTP without TLS.
    pub tls: Option<TlsFiles>,
    /// Most connections at a time; more are closed at once. Default 10,000.
    pub max_connections: usize,
    /// Most requests at a time; more are refused before their body is read. Default 65,536.
    pub max_concurrent_requests: usize,
    /// Requests a second of each key, or of each address without one. Default: no limit.
    pub rate_limit: Option<f64>,
    /// How many requests of a client may come at once before `rate_limit` counts. Default: those of a second.
    pub rate_burst: Option<u32>,
    /// How long a client may take no byte of a reply that it is sent. Default 30 s.
    pub write_timeout: Duration,
    /// Most tokens of all conversations of a request. Default: no limit.
    pub max_request_tokens: Option<usize>,
    /// Origins whose pages may read replies, as `https://host`; `*` for all. Default: none.
    pub cors_origins: Vec<String>,
}

impl Default for SecurityOptions {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            api_key_file: None,
            metrics_key: false,
            tls: None,
            max_connections: 10_000,
            max_concurrent_requests: 1 << 16,
            rate_limit: None,
            rate_burst: None,
            write_timeout: Duration::from_secs(30),
            max_request_tokens: None,
            cors_origins: Vec::new(),
        }
    }
}

/// A certificate and its key, which are read again when they change.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsFiles {
    /// PEM: the certificate of the server, and then those that vouch for it.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// How often the files are looked at. Default 5 s.
    pub check_interval: Duration,
}

impl TlsFiles {
    /// The files of a certificate and of its key.
    #[must_use]
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            check_interval: Duration::from_secs(5),
        }
    }
}
