//! What operators choose.

/// What operators choose. [`Default`] sends nothing anywhere.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OpsOptions {
    /// Where spans go. Default: nowhere.
    pub otlp: Otlp,
}

/// Where the spans of requests are sent, by OTLP over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Otlp {
    /// Nowhere.
    #[default]
    Off,
    /// To `/v1/traces` under this URL, as in `http://localhost:4318`.
    Endpoint(String),
    /// Where `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT` says.
    Environment,
}
