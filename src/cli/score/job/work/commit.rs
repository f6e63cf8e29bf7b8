//! The thread that commits complete shards.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, Scope, ScopedJoinHandle},
};

use anyhow::Result;
use worldpm_ort_jobs::{Committed, Job, Line, Shard};

use crate::cli::common::progress::InputProgress;

/// Complete shards that may wait for the disk.
const COMPLETE: usize = 4;

/// A shard, and the lines of all of its records.
pub(super) struct Complete {
    pub(super) shard: Shard,
    pub(super) lines: BTreeMap<u64, Line>,
}

/// What went wrong first.
type Problem = Arc<Mutex<Option<anyhow::Error>>>;

/// Gives shards to the thread.
pub(super) struct Committing {
    complete: SyncSender<Complete>,
    problem: Problem,
}

/// The thread, which ends when nobody is left to give it shards.
pub(super) struct Committer<'scope> {
    thread: ScopedJoinHandle<'scope, ()>,
    problem: Problem,
}

pub(super) fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    job: &'env Job,
    progress: InputProgress,
) -> Result<(Committing, Committer<'scope>)> {
    let problem = Problem::default();
    let noted = Arc::clone(&problem);
    let (complete, completed) = sync_channel(COMPLETE);
    let thread = thread::Builder::new()
        .name("commit".into())
        .spawn_scoped(scope, move || {
            commit_all(job, &progress, &completed, &noted)
        })?;
    let committing = Committing {
        complete,
        problem: Arc::clone(&problem),
    };
    Ok((committing, Committer { thread, problem }))
}

impl Committing {
    pub(super) fn commit(&self, complete: Complete) {
        // Its receiver lives as long as this.
        let _ = self.complete.send(complete);
    }

    pub(super) fn has_failed(&self) -> bool {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        problem.is_some()
    }
}

impl Committer<'_> {
    /// Waits until the thread has ended, and says what went wrong.
    pub(super) fn end(self) -> Option<anyhow::Error> {
        let _ = self.thread.join();
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        problem.take()
    }
}

fn commit_all(
    job: &Job,
    progress: &InputProgress,
    completed: &Receiver<Complete>,
    problem: &Mutex<Option<anyhow::Error>>,
) {
    for Complete { shard, lines } in completed {
        let in_order: Vec<Line> = lines.values().cloned().collect();
        match job.commit(&shard, &in_order) {
            Ok(Committed::First | Committed::Same) => {}
            Ok(Committed::Differs) => progress.report(&format!(
                "note: {} were scored by two processes, with scores that differ; those that came first stay",
                job.name_of(shard.number)
            )),
            Err(error) => {
                let mut problem = problem.lock().unwrap_or_else(PoisonError::into_inner);
                problem.get_or_insert_with(|| error.into());
                // Where the results could not be written, this may fail too; the shard is free in any case.
                let _ = job.give_back(&shard, &lines);
            }
        }
    }
}
