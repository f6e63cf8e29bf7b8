//! How servers are asked, by downloads and by scores from elsewhere.

use std::sync::Arc;

use ureq::{
    Agent,
    config::ConfigBuilder,
    tls::{RootCerts, TlsConfig},
    typestate::AgentScope,
};

/// An agent that names itself, and leaves statuses and redirects to the caller.
pub(crate) fn builder() -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder()
        // The system's certificates: a company's proxy puts its own there.
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("worldpm-ort/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
}
