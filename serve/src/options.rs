//! How a server is run.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::ops::OpsOptions;
use crate::{models::ReloadWay, security::SecurityOptions};

/// How a [`Server`](crate::Server) is run. [`Default`] listens on loopback, port 8000.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    /// Addresses to listen on. Port 0 takes one that is free. Default `127.0.0.1:8000`.
    pub addresses: Vec<SocketAddr>,
    /// Unix sockets to listen on. Default: none.
    pub unix_sockets: Vec<PathBuf>,
    /// Largest body of a request, in bytes. Default 32 MiB.
    pub max_body_bytes: usize,
    /// Most conversations of a request. Default 4096.
    pub max_request_conversations: usize,
    /// How long a conversation may take from its arrival; after that it is answered with an error. Default: no limit.
    pub request_timeout: Option<Duration>,
    /// How long a client may take to send the head of a request, and then its body. Default 30 s.
    pub read_timeout: Duration,
    /// How long admitted work may take after the server was asked to end. Default 60 s.
    pub drain_timeout: Duration,
    /// How long the server goes on to take requests after readiness has failed, for balancers to see it. Default 0.
    pub drain_delay: Duration,
    /// More paths at which slime's requests are answered. Default: none, but `/` always is one.
    pub slime_paths: Vec<String>,
    /// The key of the object that slime's replies are. Default: none, the reply is the number itself.
    pub slime_key: Option<String>,
    /// Whether `/pooling` gives a bare number as LMDeploy does, in place of vLLM's list of one. Default: no.
    pub pooling_scalar: bool,
    /// Keys, certificates and limits.
    pub security: SecurityOptions,
    /// How a model is reloaded. Default: beside the one before.
    pub reload: ReloadWay,
    /// What operators choose.
    pub ops: OpsOptions,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], 8000))],
            unix_sockets: Vec::new(),
            max_body_bytes: 32 << 20,
            max_request_conversations: 4096,
            request_timeout: None,
            read_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(60),
            drain_delay: Duration::ZERO,
            slime_paths: Vec::new(),
            slime_key: None,
            pooling_scalar: false,
            security: SecurityOptions::default(),
            reload: ReloadWay::default(),
            ops: OpsOptions::default(),
        }
    }
}

impl ServeOptions {
    /// Sets the addresses to listen on.
    #[must_use]
    pub fn with_addresses(mut self, addresses: Vec<SocketAddr>) -> Self {
        self.addresses = addresses;
        self
    }
}
