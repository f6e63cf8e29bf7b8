//! The records of a shard whose owners have died, scored one by one.

use std::{collections::BTreeMap, thread};

use anyhow::{Result, anyhow};
use worldpm_ort_jobs::{Line, Shard};

use super::{Run, commit::Complete};
use crate::{
    Conversation,
    cli::score::job::{
        found::Found,
        item::{Item, Prepared},
        model::{Model, Unanswered},
        waiting::WAITS,
    },
};

impl<M: Model> Run<'_, '_, M> {
    /// Scores a shard whose owners have died: each record by itself, noted before, so that the one that they died of shows.
    pub(super) fn one_by_one(&self, shard: Shard) -> Result<()> {
        self.work.progress.report(&format!(
            "{} are scored one by one: the processes that had them have ended",
            self.work.job.name_of(shard.number)
        ));
        let tried = self.work.under_way(&shard).and_then(|under_way| {
            self.state
                .borrow_mut()
                .shards
                .insert(shard.number, under_way);
            self.try_each(&shard)
        });
        self.state.borrow_mut().shards.remove(&shard.number);
        match tried {
            Ok(Some(lines)) => {
                self.committing.commit(Complete { shard, lines });
                Ok(())
            }
            // What is done is in its journal.
            Ok(None) => Ok(self.work.job.give_back(&shard, &BTreeMap::new())?),
            Err(error) => {
                let _ = self.work.job.give_back(&shard, &BTreeMap::new());
                Err(error)
            }
        }
    }

    /// `None` when it was interrupted.
    fn try_each(&self, shard: &Shard) -> Result<Option<BTreeMap<u64, Line>>> {
        let mut lines = shard.known.clone();
        let mut journal = self.work.job.journal(shard)?;
        let mut records = self.work.input.records(self.work.job, shard)?;
        let mut all = Vec::new();
        // All of it, so that nothing is noted of an input that has changed.
        while let Some(read) = records.next(self.work.input, shard)? {
            all.push(read);
        }
        for (record, read) in (0..).zip(all) {
            if lines.contains_key(&record) {
                continue;
            }
            if self.work.interrupt.asked() || self.committing.has_failed() {
                return Ok(None);
            }
            let line = match shard.poison.get(&record) {
                Some(deaths) => self.poison(read, *deaths)?,
                None => {
                    let prepared = self.work.prepare((shard.number, record), read);
                    if !self.has_waited(&prepared)? {
                        return Ok(None);
                    }
                    let item = self.item(&mut self.state.borrow_mut(), prepared)?;
                    if !item.1.is_empty() {
                        journal.begin(record)?;
                    }
                    self.score_one(item)?
                }
            };
            journal.done(record, &line)?;
            lines.insert(record, line);
            self.state.borrow_mut().tally.records += 1;
            self.work.progress.look(self.work.job, lines.len() as u64);
        }
        Ok(Some(lines))
    }

    /// Waits for the earlier shards that a record waits for while their owners live; of others it is computed here, since this
    /// shard is not let go for them. Says whether it was not interrupted.
    fn has_waited(&self, prepared: &Prepared) -> Result<bool> {
        let mut wait = WAITS.0;
        loop {
            let awaited = {
                let state = &mut *self.state.borrow_mut();
                state.known.look_again();
                self.awaited(state, prepared)?
            };
            let Some(shard) = awaited else {
                return Ok(true);
            };
            if !self.work.job.has_living_owner(shard)? {
                // It may be committed since that look.
                self.state.borrow_mut().known.look_again();
                return Ok(true);
            }
            if self.work.interrupt.asked() || self.committing.has_failed() {
                return Ok(false);
            }
            thread::sleep(wait);
            wait = (wait * 2).min(WAITS.1);
        }
    }

    fn score_one(&self, item: (Item<M::Outcome>, Vec<Conversation>)) -> Result<Line> {
        let mut line = None;
        let mut one = std::iter::once(item);
        self.work.model.score(&mut one, &mut |item, came| {
            line = Some(self.line(item, came)?);
            Ok(())
        })?;
        line.ok_or_else(|| anyhow!("no score came"))
    }

    fn poison(&self, found: Found, deaths: u32) -> Result<Line> {
        let (place, _) = found.prepare(self.work.args.records.allow_no_answer);
        let hint = match self.work.args.keep_going {
            true => "",
            false => "; --keep-going sets it aside",
        };
        let unanswered = Unanswered {
            problem: format!("{deaths} processes have ended while they scored it alone{hint}"),
            kind: "ends_the_process",
            ends_all: false,
        };
        self.answer_line(&place, Err(unanswered))
    }
}
