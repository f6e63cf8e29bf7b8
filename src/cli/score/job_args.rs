//! What `worldpm-ort score` accepts of jobs.

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

use clap::ValueEnum;

use crate::cli::common::{choices::seconds, heading};

/// A directory that keeps what is done.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::JOB)]
#[group(requires = "job")]
pub(crate) struct JobArgs {
    /// Keep what is scored in this directory, so that the same command goes on after whatever ended it. Several processes,
    /// also of machines that share the directory, may work on it at once
    #[arg(long, value_name = "DIR", conflicts_with = "append")]
    pub(crate) job: Option<PathBuf>,
    /// Records that are kept at a time [default: 512, or what the job was begun with]
    #[arg(long, value_name = "N")]
    pub(crate) shard_records: Option<NonZeroU64>,
    /// Whether records with the same prompt are brought together, however far apart they are in the input, so that the prompt
    /// is computed once
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) group_prompts: Grouping,
    /// Whether conversations with the same content are scored once in all of the job, whichever process comes to them
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) deduplicate: Deduplication,
    /// How long a process of another machine may give no sign until its records are taken over, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub(crate) lease_seconds: Duration,
}

/// Whether what is the same is scored once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deduplication {
    /// Once
    #[default]
    Always,
    /// As often as it is there
    Never,
}

/// When records are brought together by their prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Grouping {
    /// Where the records are copied to the job anyway: of all inputs but one plain file of JSON Lines or JSON
    #[default]
    Auto,
    /// Always: they are copied to the job
    Always,
    /// Not at all
    Never,
}
