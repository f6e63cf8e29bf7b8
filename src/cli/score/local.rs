//! Scoring with a model in this process.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    ScoreArgs,
    input::Source,
    writing::{Unanswered, Writing},
};
use crate::{
    Error, ErrorKind, Scorer,
    cli::common::{outcome::Status, placement::loaded},
    engine::Health,
    records::EntryError,
};

pub(super) fn run(
    args: &ScoreArgs,
    model: &Path,
    source: Source,
    mut writing: Writing<'_>,
) -> Result<Status> {
    let loading = Instant::now();
    let scorer = Scorer::open(model, &args.scoring.options(&args.scorer, &args.records))?;
    report!("{}", loaded(&scorer, loading.elapsed()));
    args.scorer.report_unused(&scorer);

    let interrupt = writing.begin()?;
    let mut entries = writing.open(source)?;
    let scoring = Instant::now();
    let mut conversations = 0_usize;
    let stopping = writing.stopping();
    let mut stream = scorer.stream(stopping.wanted(args, &interrupt, &mut entries));
    while let Some((taken, rewards)) = stream.next() {
        conversations += rewards.len();
        let answer = taken.place.entry.reward(rewards);
        let answer = match &answer {
            Ok(reward) => Ok(reward.into()),
            Err(problem) => Err(Unanswered {
                problem: problem.to_string(),
                ends_all: ends_all(problem, scorer.health()),
            }),
        };
        writing
            .progress()
            .set_tokens(stream.stats().tokens, stream.stats().unique_tokens);
        writing.take(taken, answer, stream.is_ready())?;
        if stopping.is_interrupted(&interrupt) {
            stream.stop();
        }
    }
    writing.flush()?;

    let seconds = scoring.elapsed().as_secs_f64();
    let stats = *stream.stats();
    drop(stream);
    report!(
        "{conversations} conversations in {seconds:.1} s: {} tokens, {} of them computed",
        stats.tokens,
        stats.unique_tokens
    );
    if scorer.is_streamed() {
        let stages = scorer.counters().stages;
        let loads: u64 = stages.iter().map(|stage| stage.loads).sum();
        let loading: Duration = stages.iter().map(|stage| stage.loading).sum();
        let busy: Duration = stages.iter().map(|stage| stage.busy).sum();
        report!(
            "{loads} loads of stages took {:.1} s, computing {:.1} s",
            loading.as_secs_f64(),
            busy.as_secs_f64()
        );
    }
    writing.finish(&stopping)
}

/// Whether no record after this one can be scored either.
pub(super) fn ends_all(problem: &EntryError, health: Health) -> bool {
    match problem {
        EntryError::Score {
            source: Error::WeightsChanged { .. },
            ..
        } => true,
        problem => problem.kind() == ErrorKind::DeviceLost && health.is_lost(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::EngineError, records::Side};

    #[test]
    fn without_a_device_no_record_is_scored() {
        let problem = EntryError::Score {
            side: Side::Whole,
            source: Error::Engine(EngineError::Lost {
                stage: "stage 0".into(),
                device: "GPU 0".into(),
                problem: "gone".into(),
            }),
        };
        assert!(ends_all(&problem, Health { copies: 2, lost: 2 }));
        assert!(!ends_all(&problem, Health { copies: 2, lost: 1 }));
    }
}
