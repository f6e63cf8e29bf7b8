//! What is looked at of the records of an input while it is divided.

use anyhow::{Result, bail};

use super::{content, found::Found};
use crate::cli::score::{args::ScoreArgs, job_args::Deduplication};

/// How records are looked at.
#[derive(Clone, Copy)]
pub(super) struct Look {
    keep_going: bool,
    allow_no_answer: bool,
    is_deduplicated: bool,
    /// Whether the conversations of a record are scored as one: by servers they are.
    is_whole: bool,
}

impl Look {
    pub(super) fn new(args: &ScoreArgs) -> Self {
        Self {
            keep_going: args.keep_going,
            allow_no_answer: args.records.allow_no_answer,
            is_deduplicated: args.job.deduplicate == Deduplication::Always,
            is_whole: args.model.is_none(),
        }
    }

    /// Whether anything is looked for.
    pub(super) fn is_wanted(&self) -> bool {
        !self.keep_going || self.is_deduplicated
    }

    /// Refuses a record that cannot be scored, unless such ones are set aside, and gives the contents of the others.
    pub(super) fn at(&self, found: Found) -> Result<Vec<[u8; 16]>> {
        let (place, conversations) = found.prepare(self.allow_no_answer);
        if let (false, Err(problem)) = (self.keep_going, place.entry.check()) {
            bail!(
                "{place}: {problem}; nothing is scored yet: --keep-going sets such records aside, and the same command takes a \
                 corrected input"
            );
        }
        Ok(match self.is_deduplicated {
            true => content::keys(&place.entry, &conversations, self.is_whole),
            false => Vec::new(),
        })
    }
}
