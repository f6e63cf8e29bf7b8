//! Keys, certificates and limits of a server, as arguments.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use worldpm_ort_serve::{ApiKey, ReloadWay, ServeOptions, TlsFiles};

use crate::cli::common::heading;

/// Files that are open besides connections: those of bundles, of libraries and of the log.
const OTHER_FILES: u64 = 1024;

/// The environment variable that holds a key.
const API_KEY: &str = "WORLDPM_API_KEY";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::SECURITY)]
pub(crate) struct SecurityArgs {
    /// File of the keys that clients may show, one a line: KEY, NAME:KEY, or admin NAME:KEY, which may also reload.
    /// WORLDPM_API_KEY holds one more [default: none, and everyone is served]
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Ask for a key at /metrics too
    #[arg(long)]
    pub(crate) metrics_key: bool,
    /// Certificate of the server with its chain, as PEM, for HTTPS; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Origin whose web pages may read scores, as in https://host:port, or * for all; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors_origin: Vec<String>,
    /// How SIGHUP and /admin/reload exchange a model
    #[arg(long, value_name = "WAY", value_enum, default_value_t = Reload::Beside)]
    pub(crate) reload: Reload,
    /// Most connections at a time; more are closed
    #[arg(long, help_heading = heading::LIMITS, value_name = "N", default_value = "10000")]
    pub(crate) max_connections: NonZeroUsize,
    /// Most requests at a time; more are refused before their body is read
    #[arg(long, help_heading = heading::LIMITS, value_name = "N", default_value = "65536")]
    pub(crate) max_concurrent_requests: NonZeroUsize,
    /// Most tokens of all conversations of a request [default: no limit]
    #[arg(long, help_heading = heading::LIMITS, value_name = "TOKENS")]
    pub(crate) max_request_tokens: Option<NonZeroUsize>,
    /// Requests a second of each key, or of each address without one [default: no limit]
    #[arg(long, help_heading = heading::LIMITS, value_name = "N")]
    pub(crate) rate_limit: Option<f64>,
    /// Requests that may come at once before --rate-limit counts [default: those of a second]
    #[arg(long, help_heading = heading::LIMITS, value_name = "N", requires = "rate_limit")]
    pub(crate) rate_burst: Option<u32>,
    /// How long a client may take to send the head of a request, and then its body, in seconds
    #[arg(long, help_heading = heading::LIMITS, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) read_timeout: Duration,
    /// How long a client may take nothing of a reply that it is sent, in seconds
    #[arg(long, help_heading = heading::LIMITS, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) write_timeout: Duration,
}

/// How a model is exchanged.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Reload {
    /// The new one is opened and checked beside the old one, which serves meanwhile: memory for both
    Beside,
    /// The old one is let go first, and requests are refused meanwhile: memory for one
    Swap,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok().filter(|&seconds| seconds >= 1e-3);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "give a number of seconds, 0.001 or more".to_owned())
}

impl SecurityArgs {
    /// Each connection is an open file, and many systems let a process have 1024 unless it asks for more.
    pub(crate) fn allow_connections(&self) {
        let needed = self.max_connections.get() as u64 + OTHER_FILES;
        let limits = getrlimit(Resource::Nofile);
        let allowed = limits.maximum.map_or(needed, |most| needed.min(most));
        if limits.current.is_some_and(|current| current < allowed) {
            let raised = Rlimit {
                current: Some(allowed),
                maximum: limits.maximum,
            };
            // What cannot be had is logged below.
            let _ = setrlimit(Resource::Nofile, raised);
        }
        let current = getrlimit(Resource::Nofile).current;
        if let Some(current) = current.filter(|&current| current < needed) {
            alert!(
                "warning: the system allows this process {current} open files, which is too few for --max-connections {}: \
                 raise `ulimit -n`, or lower --max-connections",
                self.max_connections
            );
        }
    }

    pub(crate) fn set(&self, options: &mut ServeOptions) {
        options.read_timeout = self.read_timeout;
        options.reload = match self.reload {
            Reload::Beside => ReloadWay::Beside,
            Reload::Swap => ReloadWay::Swap,
        };
        let security = &mut options.security;
        security.api_key_file.clone_from(&self.api_key_file);
        // One that is empty or no text still is one: without it, everyone would be served.
        let key = std::env::var_os(API_KEY);
        security.api_keys = key
            .map(|key| ApiKey::new(API_KEY, &key.to_string_lossy()))
            .into_iter()
            .collect();
        security.metrics_key = self.metrics_key;
        let files = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        security.tls = files.map(|(certificate, key)| TlsFiles::new(certificate, key));
        security.cors_origins.clone_from(&self.cors_origin);
        security.max_connections = self.max_connections.get();
        security.max_concurrent_requests = self.max_concurrent_requests.get();
        security.max_request_tokens = self.max_request_tokens.map(NonZeroUsize::get);
        security.rate_limit = self.rate_limit;
        security.rate_burst = self.rate_burst;
        security.write_timeout = self.write_timeout;
    }
}
