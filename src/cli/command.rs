//! The verbs, and what runs each of them.

use std::path::Path;

use clap::{Parser, Subcommand};

#[cfg(feature = "serve")]
use super::serve::{self, ServeArgs};
use super::{
    bench::{self, BenchArgs},
    check_text::{self, CheckTextArgs},
    common::{closed, notices::Verbosity, outcome::Status},
    doctor::{self, DoctorArgs},
    export::{self, ExportArgs},
    filter::{self, FilterArgs},
    inspect::{self, InspectArgs},
    plan::{self, PlanArgs},
    rank::{self, RankArgs},
    recipes::{self, RecipesArgs},
    rotate::{self, RotateArgs},
    score::{self, ScoreArgs},
    synth::{self, SynthArgs},
    verify::{self, VerifyArgs},
};

/// Score conversations with large reward models through ONNX Runtime.
#[derive(Debug, Parser)]
#[command(name = "worldpm-ort", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn a Hugging Face checkpoint into a bundle of ONNX graphs
    Export(ExportArgs),
    /// Score conversations with a bundle
    Score(ScoreArgs),
    /// Order the candidates of prompts by their scores, and make pairs of them for training
    Rank(Box<RankArgs>),
    /// Keep the rows of a data set whose scores are above a number, or among the best; nothing is scored again
    Filter(FilterArgs),
    /// Serve the scores of bundles over HTTP, in the dialects that clients of reward models speak
    #[cfg(feature = "serve")]
    Serve(Box<ServeArgs>),
    /// List the recipes: published reward models, and how they are exported
    Recipes(RecipesArgs),
    /// Make a checkpoint with the same scores and weights that are easier to round, for --precision int4 and w8a8
    Rotate(RotateArgs),
    /// Make a checkpoint with random weights, for tests and benchmarks
    Synth(Box<SynthArgs>),
    /// Check that a bundle gives the scores it should
    Verify(VerifyArgs),
    /// Show what a bundle or a checkpoint holds, and where its nodes run
    Inspect(InspectArgs),
    /// Estimate what a model needs on given devices, how fast it could be there, and what a data set would cost
    Plan(Box<PlanArgs>),
    /// List what this machine has and lacks for scoring, and what to do about it
    Doctor(DoctorArgs),
    /// Measure how fast a bundle scores here, and what its stages do meanwhile
    Bench(BenchArgs),
    /// Read the text files of a checkpoint under limits; `export` runs it
    #[command(hide = true)]
    CheckText(CheckTextArgs),
}

/// Whether a verb writes a log, in place of lines for whoever waits for it.
pub(crate) fn has_log(command: &Command) -> bool {
    match command {
        #[cfg(feature = "serve")]
        Command::Serve(_) => true,
        _ => false,
    }
}

pub(crate) fn run(command: &Command) -> anyhow::Result<Status> {
    if closed::stdout() && prints(command) {
        anyhow::bail!(
            "standard output is closed, and the results would be lost: leave it open, or send it to a file"
        );
    }
    match command {
        Command::Synth(args) => synth::run(args),
        Command::Export(args) => export::run(args),
        Command::Rotate(args) => rotate::run(args),
        Command::Recipes(args) => recipes::run(args),
        Command::Score(args) => score::run(args),
        Command::Rank(args) => rank::run(args),
        Command::Filter(args) => filter::run(args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::CheckText(args) => check_text::run(args),
    }
}

/// Whether a command has results for standard output.
fn prints(command: &Command) -> bool {
    match command {
        Command::Synth(_) | Command::Rotate(_) | Command::Export(_) => false,
        #[cfg(feature = "serve")]
        Command::Serve(_) => false,
        Command::Score(args) => args.output == Path::new("-"),
        Command::Rank(args) => args.files.output == Path::new("-"),
        Command::Filter(args) => args.files.output == Path::new("-") && !args.dry_run,
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::Args;
    use crate::cli::common::heading;

    #[test]
    fn every_option_of_every_verb_has_a_heading() {
        let command = Args::command();
        let mut options = 0;
        for verb in command.get_subcommands() {
            for option in verb.get_opts().filter(|option| option.get_long().is_some()) {
                let name = option.get_id();
                let heading = option.get_help_heading();
                assert!(heading.is_some(), "{} --{name}", verb.get_name());
                options += 1;
            }
        }
        assert!(options > 100, "{options} options seen");

        // The heading of flattened options would go on to what comes after them.
        for (verb, option, heading) in [
            ("score", "keep_going", heading::INPUT_OUTPUT),
            ("export", "stages", heading::STAGES),
            ("verify", "record", heading::PROBES),
            ("verify", "data", heading::COMPARISON),
            ("bench", "workload", heading::WORKLOAD),
        ] {
            let mut options = command.find_subcommand(verb).unwrap().get_opts();
            let found = options.find(|found| found.get_id() == option).unwrap();
            assert_eq!(found.get_help_heading(), Some(heading), "{verb} {option}");
        }
    }
}
