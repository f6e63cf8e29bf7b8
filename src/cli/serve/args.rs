//! What `worldpm-ort serve` accepts.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use worldpm_ort_bundle::Bytes;
use worldpm_ort_serve::{ModelOptions, ServeOptions};

use super::{ops_args::OpsArgs, security::SecurityArgs, texts::TextArgs};
use crate::cli::common::{
    choices::{ReduceWay, TruncationWay, seconds},
    heading,
    scorer_args::ScorerArgs,
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::MODEL)]
pub(crate) struct ServeArgs {
    /// Directory of a bundle, and the name that clients call it by [default: the directory's name]; may be repeated.
    /// Requests that name no model mean the first
    #[arg(long, value_name = "[NAME=]DIR", required = true)]
    pub(crate) model: Vec<NamedModel>,
    /// Another name for a model, such as the path that clients have in their settings; may be repeated
    #[arg(long, value_name = "NAME=MODEL")]
    pub(crate) alias: Vec<Alias>,
    /// Do not compare the scores of a bundle's probes before it is served
    #[arg(long)]
    pub(crate) skip_probes: bool,
    #[command(flatten)]
    pub(crate) scorer: ScorerArgs,
    /// Most tokens of a conversation [default and upper bound: the bundle's limit]
    #[arg(long, help_heading = heading::SCORING, value_name = "TOKENS")]
    pub(crate) max_length: Option<usize>,
    /// What happens to a longer conversation
    #[arg(long, help_heading = heading::SCORING, value_name = "WAY", value_enum, default_value_t)]
    pub(crate) truncation: TruncationWay,
    /// Make one score of the scores of an answer's steps, for a model that scores steps
    #[arg(long, help_heading = heading::SCORING, value_name = "WAY", value_enum)]
    pub(crate) reduce: Option<ReduceWay>,
    /// Also score conversations that do not end with an assistant's message, which has no answer to judge
    #[arg(long, help_heading = heading::SCORING)]
    pub(crate) allow_no_answer: bool,
    #[command(flatten)]
    pub(crate) texts: TextArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) security: SecurityArgs,
    #[command(flatten)]
    pub(crate) dialects: DialectArgs,
    #[command(flatten)]
    pub(crate) ops: OpsArgs,
}

/// Where a server listens.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::LISTENING)]
pub(crate) struct ListenArgs {
    /// Address to listen on; 0.0.0.0 for all of this machine
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) host: IpAddr,
    /// Port to listen on; 0 for one that is free, which is printed
    #[arg(long, value_name = "PORT", default_value = "8000")]
    pub(crate) port: u16,
    /// Unix socket to listen on, in place of an address; may be repeated. --also-tcp for both
    #[arg(long, value_name = "PATH")]
    pub(crate) unix_socket: Vec<PathBuf>,
    /// Listen on the address too where there is a Unix socket
    #[arg(long, requires = "unix_socket")]
    pub(crate) also_tcp: bool,
}

/// What a server takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::LIMITS)]
pub(crate) struct LimitArgs {
    /// Most conversations that wait or are computed; more are refused
    #[arg(long, value_name = "N", default_value = "65536")]
    pub(crate) max_queue_conversations: NonZeroUsize,
    /// Most tokens that wait or are computed; more are refused
    #[arg(long, value_name = "TOKENS", default_value = "16777216")]
    pub(crate) max_queue_tokens: NonZeroUsize,
    /// How long a conversation may wait for others that fill its run of the model, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2.0, value_parser = milliseconds)]
    pub(crate) max_queue_delay_ms: f64,
    /// Largest body of a request, as in 32MiB
    #[arg(long, value_name = "SIZE", default_value_t = Bytes(32 << 20))]
    pub(crate) max_body: Bytes,
    /// Most conversations of a request
    #[arg(long, value_name = "N", default_value = "4096")]
    pub(crate) max_request_conversations: NonZeroUsize,
    /// How long a conversation may take, in seconds [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) request_timeout: Option<Duration>,
    /// How long work that was taken may go on after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) drain_timeout: Duration,
    /// How long new requests are still taken after SIGTERM, while readiness fails, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) drain_delay: Duration,
}

/// Where dialects leave a choice.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::DIALECTS)]
pub(crate) struct DialectArgs {
    /// Another path for slime's requests, as in /rm; may be repeated
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub(crate) slime_path: Vec<String>,
    /// Answer slime with an object that has the score under this key, for its --reward-key [default: the bare number]
    #[arg(long, value_name = "KEY")]
    pub(crate) slime_key: Option<String>,
    /// Answer /pooling with a bare number, as LMDeploy does, in place of vLLM's list
    #[arg(long)]
    pub(crate) pooling_scalar: bool,
}

/// A model, as `DIR` or `NAME=DIR`.
#[derive(Clone, Debug)]
pub(crate) struct NamedModel {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
}

/// `NAME=MODEL`.
#[derive(Clone, Debug)]
pub(crate) struct Alias {
    pub(crate) name: String,
    pub(crate) model: String,
}

impl FromStr for NamedModel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, directory) = match text.split_once('=') {
            // A directory whose name has a `=` in it.
            Some((name, _)) if name.contains('/') => (None, text),
            Some((name, directory)) => (Some(name.to_owned()), directory),
            None => (None, text),
        };
        let directory = PathBuf::from(directory);
        let of_directory = || {
            let whole = directory
                .canonicalize()
                .unwrap_or_else(|_| directory.clone());
            whole
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        let name = name.or_else(of_directory).unwrap_or_default();
        if name.is_empty() {
            return Err("it has no name: give one, as in NAME=DIR".to_owned());
        }
        Ok(Self { name, directory })
    }
}

impl FromStr for Alias {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A model's name has no `=` in it, and a path in a client's settings may.
        match text.rsplit_once('=') {
            Some((name, model)) if !name.is_empty() && !model.is_empty() => Ok(Self {
                name: name.to_owned(),
                model: model.to_owned(),
            }),
            _ => Err("give both names, as in NAME=MODEL".to_owned()),
        }
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "give a number of milliseconds".to_owned())?;
    match (0.0..=60_000.0).contains(&number) {
        true => Ok(number),
        false => Err("give a number of milliseconds from 0 to 60000".to_owned()),
    }
}

fn path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    match text.strip_prefix('/') {
        Some(rest) if !rest.is_empty() && rest.chars().all(plain) => Ok(text.to_owned()),
        _ => Err("give a path of letters, digits, and - _ . ~ that begins with /".to_owned()),
    }
}

impl ServeArgs {
    pub(crate) fn model_options(&self, named: &NamedModel) -> ModelOptions {
        let mut options = self
            .scorer
            .options()
            .with_truncation(self.truncation.into());
        options = self.texts.set(options);
        options.reduce = self.reduce.map(Into::into);
        options.max_length = self.max_length;
        options.allow_no_answer = self.allow_no_answer;
        options.queue = options
            .queue
            .with_max_conversations(self.limits.max_queue_conversations.get())
            .with_max_tokens(self.limits.max_queue_tokens.get())
            .with_max_delay(Duration::from_secs_f64(
                self.limits.max_queue_delay_ms / 1e3,
            ));
        let mut model = ModelOptions::new(&named.name, &named.directory, options);
        model.checks_probes = !self.skip_probes;
        model
    }

    pub(crate) fn serve_options(&self) -> ServeOptions {
        let mut options = ServeOptions::default();
        let listen = &self.listen;
        options.addresses = match listen.unix_socket.is_empty() || listen.also_tcp {
            true => vec![SocketAddr::new(listen.host, listen.port)],
            false => Vec::new(),
        };
        options.unix_sockets.clone_from(&listen.unix_socket);
        options.max_body_bytes = usize::try_from(self.limits.max_body.0).unwrap_or(usize::MAX);
        options.max_request_conversations = self.limits.max_request_conversations.get();
        options.request_timeout = self.limits.request_timeout;
        options.drain_timeout = self.limits.drain_timeout;
        options.drain_delay = self.limits.drain_delay;
        options.slime_paths.clone_from(&self.dialects.slime_path);
        options.slime_key.clone_from(&self.dialects.slime_key);
        options.pooling_scalar = self.dialects.pooling_scalar;
        self.security.set(&mut options);
        options.ops = self.ops.options();
        options
    }
}
