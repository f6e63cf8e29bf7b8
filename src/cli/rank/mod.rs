//! `worldpm-ort rank`: the candidates of a prompt, ordered by their scores.

mod args;
mod group;
mod order;
mod writing;

use std::{cell::Cell, time::Instant};

use anyhow::{Result, bail};

use super::{
    common::{
        interrupt::Interrupt,
        model,
        outcome::Status,
        output::Results,
        placement::loaded,
        records::{Entries, InputProgress, open_input, place},
    },
    score::input::{check_apart, is_file},
};
use crate::{
    Error, Reward, Scorer,
    answers::{AnswerLine, Outcome, ScoredConversation},
    records::Side,
};
use group::{Candidates, Grouping};

pub(crate) use args::RankArgs;

/// Records of a file that are looked at before anything is scored.
const LOOKED_AT: usize = 256;

/// Said of models that say more than one number of an answer.
const NO_SCORE: &str = "the model does not give one score to an answer, by which it could be ranked: of one that scores \
                        steps, --reduce makes one";

pub(crate) fn run(args: &RankArgs) -> Result<Status> {
    model::check(&args.model)?;
    let (input, progress) = open_input(&args.input)?;
    check_apart(std::slice::from_ref(&args.input), &args.output)?;
    let mut output = Results::prepare(&args.output, false)?;
    let mut entries = Entries::new(progress.wrap_read(input), &args.records, &progress)?;
    if args.group_by.is_some() {
        entries = entries.keeping_fields();
    }
    if is_file(&args.input) {
        entries.look_at_first(LOOKED_AT, &args.input, args.keep_going)?;
    }
    let loading = Instant::now();
    let scorer = Scorer::open(
        &args.model,
        &args.scoring.options(&args.scorer, &args.records),
    )?;
    report!("{}", loaded(&scorer, loading.elapsed()));
    args.scorer.report_unused(&scorer);

    output.open()?;
    let told = progress.clone();
    let interrupt = Interrupt::watch(move || {
        told.report(
            "interrupted: what is under way is finished and written; a second signal stops at once",
        );
    })?;
    let ranking = Instant::now();
    let interrupted = Cell::new(false);
    let refused = Cell::new(false);
    let mut groups = Grouping::new(entries, args.group_by.as_deref());
    let wanted = std::iter::from_fn(|| {
        interrupted.set(interrupt.asked());
        if interrupted.get() || refused.get() {
            return None;
        }
        let group = groups.next()?;
        refused.set(!args.keep_going && group.0.problem.is_some());
        Some(group)
    });
    let mut work = Work {
        args,
        output,
        progress,
        failures: 0,
        prompts: 0,
        lines: 0,
    };
    let mut stream = scorer.stream(wanted);
    while let Some((candidates, rewards)) = stream.next() {
        work.take(&candidates, rewards)?;
        if !stream.is_ready() {
            work.output.flush()?;
        }
    }
    drop(stream);
    work.progress.finish_and_clear();
    let (prompts, lines) = (work.prompts, work.lines);
    report!(
        "{prompts} prompts in {:.1} s: {lines} lines",
        ranking.elapsed().as_secs_f64()
    );
    if interrupted.get() {
        match work.output.leave()? {
            Some(left) => report!(
                "interrupted: {} has the first {prompts} prompts",
                left.display()
            ),
            None => report!("interrupted: the output has the first {prompts} prompts"),
        }
        return Ok(Status::Interrupted);
    }
    work.output.finish()?;
    if work.failures > 0 {
        report!(
            "{} prompts could not be ranked; their lines in the output say why",
            work.failures
        );
        return Ok(Status::SomeFailed);
    }
    Ok(Status::Done)
}

struct Work<'a> {
    args: &'a RankArgs,
    output: Results,
    progress: InputProgress,
    failures: usize,
    prompts: usize,
    lines: usize,
}

impl Work<'_> {
    fn take(&mut self, candidates: &Candidates, rewards: Vec<Result<Reward, Error>>) -> Result<()> {
        let scored = match &candidates.problem {
            Some(problem) => Err(problem.clone()),
            None => scored(candidates, rewards)?,
        };
        self.prompts += 1;
        match scored {
            Ok((scored, scores)) => {
                for line in writing::lines(self.args, candidates, &scored, &scores)? {
                    self.output.write_line(&line)?;
                    self.lines += 1;
                }
                Ok(())
            }
            Err(problem) if self.args.keep_going => {
                self.failures += 1;
                self.lines += 1;
                let line = AnswerLine {
                    id: candidates.first.id.as_ref(),
                    outcome: Outcome::Failure {
                        line: candidates.first.line,
                        error: problem,
                    },
                };
                self.output.write_line(&serde_json::to_vec(&line)?)
            }
            Err(problem) => {
                self.progress.abandon();
                let place = place(&candidates.first, &self.args.input);
                match self.output.leave()? {
                    Some(left) => bail!(
                        "{place}: {problem}; the results before it are in {}",
                        left.display()
                    ),
                    None => bail!("{place}: {problem}"),
                }
            }
        }
    }
}

type Scored = (Vec<ScoredConversation>, Vec<f64>);

/// The scores of candidates, or why one has none. What no other prompt would have either is an error.
fn scored(
    candidates: &Candidates,
    rewards: Vec<Result<Reward, Error>>,
) -> Result<std::result::Result<Scored, String>> {
    let sides = candidates.first.sides();
    let mut all = Vec::with_capacity(rewards.len());
    for (index, reward) in rewards.into_iter().enumerate() {
        match reward {
            Ok(reward) => all.push(ScoredConversation::from(&reward)),
            Err(error @ Error::WeightsChanged { .. }) => return Err(error.into()),
            Err(error) => {
                // Of records that were put together, their place among them.
                let side = match candidates.key {
                    Some(_) => Side::Candidate(index),
                    None => sides.get(index).copied().unwrap_or(Side::Candidate(index)),
                };
                return Ok(Err(format!("{side}{error}")));
            }
        }
    }
    let scores: Option<Vec<f64>> = all.iter().map(|one| one.score).collect();
    match scores {
        Some(scores) => Ok(Ok((all, scores))),
        None => bail!(NO_SCORE),
    }
}
