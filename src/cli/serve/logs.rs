//! The log of a server, on standard error.

use std::io;

use tracing::{level_filters::LevelFilter, subscriber::set_global_default};
use tracing_subscriber::{
    filter::Targets,
    fmt::{Layer, format::FmtSpan},
    layer::SubscriberExt,
    registry,
};

use super::ops_args::{LogFormat, LogLevel, OpsArgs};
use crate::cli::common::notices::{self, Loudness};

/// From here on, what the server logs is written.
pub(crate) fn start(args: &OpsArgs) {
    let level = match args.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let level = match notices::loudness() {
        Loudness::Quiet => level.min(LevelFilter::WARN),
        Loudness::Usual => level,
        Loudness::Verbose => level.max(LevelFilter::DEBUG),
    };
    // Of others, such as the exporter of spans, only what is wrong.
    let filter = Targets::new()
        .with_target("worldpm_ort", level)
        .with_default(level.min(LevelFilter::WARN));
    let lines = Layer::new()
        .with_ansi(false)
        .with_span_events(FmtSpan::NONE)
        // Where standard error is closed or full, the line is lost and nothing else.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    // A program that has a subscriber of its own keeps it.
    let _ = match args.log_format {
        LogFormat::Text => set_global_default(registry().with(filter).with(lines)),
        LogFormat::Json => set_global_default(
            registry().with(filter).with(
                lines
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false),
            ),
        ),
    };
}
