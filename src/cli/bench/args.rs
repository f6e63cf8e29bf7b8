//! The options of `bench`.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::builder::RangedU64ValueParser;

use crate::{
    bench::{BenchOptions, WorkloadKind, WorkloadSpec},
    cli::common::{heading, records::RecordArgs, scorer_args::ScorerArgs},
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::WORKLOAD)]
pub(crate) struct BenchArgs {
    /// Directory of the bundle
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "DIR")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) scorer: ScorerArgs,
    #[command(flatten)]
    pub(crate) reading: RecordArgs,
    /// Records to score, as for `score`; all of them are held in memory [default: made-up text, see --workload]
    #[arg(
        long, help_heading = heading::WORKLOAD,
        value_name = "FILE",
        conflicts_with_all = ["workload", "records", "prompt_tokens", "answer_tokens", "seed"]
    )]
    pub(crate) data: Option<PathBuf>,
    /// Made-up text to score: best-of-8 (eight answers to each prompt), pairs, mixed (answers of a tenth to twice
    /// --answer-tokens), single or long (one conversation of thousands of tokens)
    #[arg(long, help_heading = heading::WORKLOAD, value_name = "KIND", default_value_t)]
    workload: WorkloadKind,
    /// Records of the made-up text [default: by the workload]
    #[arg(long, help_heading = heading::WORKLOAD, value_name = "N", value_parser = up_to(1, 1_000_000))]
    records: Option<usize>,
    /// Tokens of a made-up prompt, about [default: by the workload]
    #[arg(long, help_heading = heading::WORKLOAD, value_name = "TOKENS")]
    prompt_tokens: Option<NonZeroUsize>,
    /// Tokens of a made-up answer, about [default: by the workload]
    #[arg(long, help_heading = heading::WORKLOAD, value_name = "TOKENS")]
    answer_tokens: Option<NonZeroUsize>,
    /// The same seed makes the same text
    #[arg(long, help_heading = heading::WORKLOAD, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Rounds over all records before measuring
    #[arg(long, help_heading = heading::MEASUREMENT, value_name = "N", default_value_t = 1)]
    warmup: usize,
    /// Rounds over all records that are measured
    #[arg(long, help_heading = heading::MEASUREMENT, value_name = "N", default_value = "3")]
    rounds: NonZeroUsize,
    /// Measure more rounds until so many seconds have passed
    #[arg(long, help_heading = heading::MEASUREMENT, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Conversations whose latency is measured, alone and again under load; 0 for none
    #[arg(long, help_heading = heading::MEASUREMENT, value_name = "N", default_value_t = 20, value_parser = up_to(0, 100_000))]
    samples: usize,
    /// Concurrent conversations, for latency under load
    #[arg(long, help_heading = heading::MEASUREMENT, value_name = "N", default_value_t = 4, value_parser = up_to(1, 1024))]
    clients: usize,
    /// Also write what every stage did when, for https://ui.perfetto.dev or chrome://tracing
    #[arg(long, help_heading = heading::OUTPUT_FORMAT, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,
    /// Also show which operators the time goes to, by ONNX Runtime's profiler
    #[arg(long, help_heading = heading::OUTPUT_FORMAT)]
    pub(crate) profile: bool,
    /// Print one JSON object instead of tables
    #[arg(long, help_heading = heading::OUTPUT_FORMAT)]
    pub(crate) json: bool,
}

impl BenchArgs {
    pub(crate) fn options(&self) -> BenchOptions {
        BenchOptions {
            warmup: self.warmup,
            rounds: self.rounds,
            at_least: self.seconds,
            samples: self.samples,
            clients: NonZeroUsize::new(self.clients).unwrap_or(NonZeroUsize::MIN),
        }
    }

    pub(crate) fn spec(&self) -> WorkloadSpec {
        WorkloadSpec {
            kind: self.workload,
            records: self.records.and_then(NonZeroUsize::new),
            prompt_tokens: self.prompt_tokens,
            answer_tokens: self.answer_tokens,
            seed: self.seed,
        }
    }
}

fn up_to(least: u64, most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=most)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: Option<f64> = text.parse().ok().filter(|seconds| *seconds > 0.0);
    let time = number.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "give a number of seconds above 0".to_owned())
}
