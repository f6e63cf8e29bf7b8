//! What operators choose of `worldpm-ort serve`.

use clap::ValueEnum;
use worldpm_ort_serve::{OpsOptions, Otlp};

use crate::cli::common::heading;

/// The variables of OpenTelemetry that say where spans go.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::OPERATIONS)]
pub(crate) struct OpsArgs {
    /// How log lines are written, on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// What is logged: debug has a line for each request, info for each that was refused
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    pub(crate) log_level: LogLevel,
    /// Send the spans of requests to a collector, by OTLP over HTTP, as in http://localhost:4318
    /// [default: where OTEL_EXPORTER_OTLP_ENDPOINT says, else nowhere]
    #[arg(long, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line to read
    #[default]
    Text,
    /// An object of JSON a line
    Json,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl OpsArgs {
    pub(crate) fn options(&self) -> OpsOptions {
        let mut options = OpsOptions::default();
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        options.otlp = match &self.otlp_endpoint {
            Some(url) => Otlp::Endpoint(url.clone()),
            None if ENDPOINTS.into_iter().any(is_set) => Otlp::Environment,
            None => Otlp::Off,
        };
        options
    }
}
