//! `worldpm-ort rank`: the candidates of a prompt, ordered by their scores.

mod args;
mod group;
mod order;
mod rows;
mod scores;
mod writing;

use std::{cell::Cell, path::Path, time::Instant};

use anyhow::Result;
use worldpm_ort_data::{DataSet, Files, Format};

use super::{
    common::{
        model, outcome::Status, output::Results, placement::loaded, progress::InputProgress,
        rows_out::RowsOut,
    },
    score::input::{Entries, check_apart, read_options, report_left_out},
};
#[cfg(feature = "remote")]
use crate::remote::RemoteScorer;
use crate::{Conversation, Scorer};
use group::{Candidates, Grouping, Member};
use writing::Writing;

pub(crate) use args::RankArgs;

pub(crate) fn run(args: &RankArgs) -> Result<Status> {
    if let Some(model) = &args.model {
        model::check(model)?;
    }
    let files = args.files.find()?;
    check_apart(files.paths(), &args.files.output)?;
    let output = Results::prepare(&args.files.output, false)?;
    let progress = InputProgress::new(files.bytes());
    report_left_out(&files);
    // Whatever waits for someone to write it is not opened before the model is loaded.
    let opened = match files.are_complete() {
        true => {
            let (mut entries, format) = open(args, files.clone(), &progress)?;
            entries.look_at_first(args.keep_going, |_, _| Ok(()))?;
            // What the output is, is found out before the model is loaded too.
            args.files.formats.output(&args.files.output, format)?;
            Some((entries, format))
        }
        false => None,
    };
    let scorer = AnyScorer::open(args)?;
    let mut out = RowsOut::new(output, &progress);
    let interrupt = out.begin()?;
    let (entries, format) = match opened {
        Some(opened) => opened,
        None => open(args, files, &progress)?,
    };
    let mut writing = Writing::new(args, out, format)?;
    let ranking = Instant::now();
    progress.begin();
    let interrupted = Cell::new(false);
    let refused = Cell::new(false);
    let column = args.group_by.as_deref();
    let members = entries.map(|(taken, conversations)| (Member::of(taken, column), conversations));
    let mut groups = Grouping::new(members, column);
    let wanted = std::iter::from_fn(|| {
        interrupted.set(interrupt.asked());
        if interrupted.get() || refused.get() {
            return None;
        }
        let group = groups.next()?;
        refused.set(!args.keep_going && group.0.problem.is_some());
        Some(group)
    });
    scorer.rank(wanted, &mut writing, &progress)?;
    progress.finish_and_clear();
    writing.report(ranking.elapsed());
    match interrupted.get() {
        true => writing.leave(),
        false => writing.finish(),
    }
}

fn open(args: &RankArgs, files: Files, progress: &InputProgress) -> Result<(Entries, Format)> {
    let mut options = read_options(&args.files.formats, &args.records);
    options.keep_fields = args.group_by.is_some();
    let set = DataSet::open(files, &options)?;
    let format = set.format();
    Ok((Entries::of(set, &args.records, progress), format))
}

/// What scores: a model in this process, or servers.
enum AnyScorer {
    Local(Box<Scorer>),
    #[cfg(feature = "remote")]
    Remote(RemoteScorer),
}

impl AnyScorer {
    fn open(args: &RankArgs) -> Result<Self> {
        match &args.model {
            Some(model) => Self::load(args, model),
            #[cfg(feature = "remote")]
            None => Ok(Self::Remote(RemoteScorer::new(args.remote.options())?)),
            #[cfg(not(feature = "remote"))]
            None => anyhow::bail!("name the directory of a bundle with --model"),
        }
    }

    fn load(args: &RankArgs, model: &Path) -> Result<Self> {
        let loading = Instant::now();
        let options = args.scoring.options(&args.scorer, &args.records);
        let scorer = Scorer::open(model, &options)?;
        report!("{}", loaded(&scorer, loading.elapsed()));
        args.scorer.report_unused(&scorer);
        Ok(Self::Local(scorer.into()))
    }

    /// Scores candidates, and writes them in their order.
    fn rank(
        &self,
        wanted: impl Iterator<Item = (Candidates, Vec<Conversation>)>,
        writing: &mut Writing<'_>,
        progress: &InputProgress,
    ) -> Result<()> {
        match self {
            Self::Local(scorer) => {
                let mut stream = scorer.stream(wanted);
                while let Some((candidates, rewards)) = stream.next() {
                    let stats = stream.stats();
                    progress.set_tokens(stats.tokens, stats.unique_tokens);
                    progress.add_record();
                    let scored = scores::of_rewards(&candidates, rewards);
                    writing.take(&candidates, scored, stream.is_ready())?;
                }
            }
            #[cfg(feature = "remote")]
            Self::Remote(scorer) => {
                let mut stream = scorer.stream_entries(wanted);
                while let Some(answered) = stream.next() {
                    let (candidates, answer) = match answered {
                        Ok(answered) => answered,
                        Err(error) => return writing.fail(&error.to_string()),
                    };
                    progress.add_record();
                    let scored = scores::of_answer(&candidates, answer);
                    writing.take(&candidates, scored, stream.is_ready())?;
                }
            }
        }
        Ok(())
    }
}
