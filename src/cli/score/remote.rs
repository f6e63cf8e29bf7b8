//! Scoring by servers.

use std::time::Instant;

use anyhow::Result;

use super::{
    ScoreArgs,
    input::Source,
    writing::{Unanswered, Writing},
};
use crate::{cli::common::outcome::Status, remote::RemoteScorer};

pub(super) fn run(args: &ScoreArgs, source: Source, mut writing: Writing<'_>) -> Result<Status> {
    let scorer = RemoteScorer::new(args.remote.options())?;
    let interrupt = writing.begin()?;
    let mut entries = writing.open(source)?;
    let scoring = Instant::now();
    let mut answers = 0_usize;
    let stopping = writing.stopping();
    let mut stream = scorer.stream_entries(stopping.wanted(args, &interrupt, &mut entries));
    while let Some(answered) = stream.next() {
        let (taken, answer) = match answered {
            Ok(answered) => answered,
            Err(error) => {
                writing.fail(&error.to_string())?;
                break;
            }
        };
        let refused = |problem| Unanswered {
            problem,
            ends_all: false,
        };
        let answer = match (answer, taken.place.entry.check()) {
            (Some(answer), _) => answer.map_err(refused),
            (None, Err(error)) => Err(refused(error.to_string())),
            (None, Ok(())) => Err(refused("there is nothing to score".into())),
        };
        answers += usize::from(answer.is_ok());
        writing.take(taken, answer, stream.is_ready())?;
    }
    writing.flush()?;
    drop(stream);
    let seconds = scoring.elapsed().as_secs_f64();
    report!("{answers} records in {seconds:.1} s");
    writing.finish(&stopping)
}
