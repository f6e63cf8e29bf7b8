//! Servers that score in place of a model, for commands that take either.

use std::{num::NonZeroUsize, time::Duration};

use super::{choices::seconds, heading};
use crate::remote::RemoteOptions;

/// Servers that score in place of a model in this process.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::SERVER)]
pub(crate) struct RemoteArgs {
    /// Servers (`worldpm-ort serve`) to send the records to, in place of a model in this process, as in http://HOST:8000;
    /// with commas for several
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        required_unless_present = "model",
        conflicts_with_all = ["model", "ScorerArgs", "ScoringArgs"]
    )]
    pub(crate) endpoint: Vec<String>,
    /// The model that is asked for [default: the first that a server has]
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub(crate) served_model: Option<String>,
    /// The key that the servers ask for
    #[arg(
        long,
        value_name = "KEY",
        env = "WORLDPM_API_KEY",
        hide_env_values = true
    )]
    pub(crate) api_key: Option<String>,
    /// Requests under way at once, for each server
    #[arg(long, value_name = "N", default_value = "4", requires = "endpoint")]
    pub(crate) requests: NonZeroUsize,
    /// Most conversations of a request
    #[arg(long, value_name = "N", default_value = "64", requires = "endpoint")]
    pub(crate) request_conversations: NonZeroUsize,
    /// How often a request is sent again where a server is busy or does not answer
    #[arg(long, value_name = "N", default_value = "10", requires = "endpoint")]
    pub(crate) retries: u32,
    /// How long a server may take for a request, in seconds [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "endpoint")]
    pub(crate) request_timeout: Option<Duration>,
}

impl RemoteArgs {
    pub(crate) fn options(&self) -> RemoteOptions {
        let mut options = RemoteOptions::new(&self.endpoint);
        options.model.clone_from(&self.served_model);
        options.api_key.clone_from(&self.api_key);
        options.requests = self.requests;
        options.conversations = self.request_conversations;
        options.retries = self.retries;
        options.timeout = self.request_timeout;
        options
    }
}
