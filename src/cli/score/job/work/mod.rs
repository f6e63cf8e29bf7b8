//! The records of the shards of a job, scored one behind the other so that packs stay full; a shard is handed over to be
//! committed as it is complete.

mod alone;
mod commit;
mod shards;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    sync::{Arc, OnceLock},
    thread,
    time::Instant,
};

use anyhow::{Result, bail};
use worldpm_ort_jobs::{Job, Line, Repeats, Shard};

use self::commit::{Committing, Complete};
use super::{
    found::Found,
    input::{JobInput, ShardRecords},
    item::{Item, Prepared},
    known::{KnownOutcomes, outcome},
    model::{Model, Unanswered},
    progress::Progress,
    under_way::UnderWay,
    waiting::{WAITS, Waiting},
};
use crate::{
    Conversation,
    answers::{AnswerLine, Outcome},
    cli::{
        common::interrupt::Interrupt,
        score::{args::ScoreArgs, input::Place, job_args::Deduplication},
    },
};

/// How the work ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    Interrupted,
}

/// What this process did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) records: u64,
    /// Conversations, or records of a server, whose outcome was known already.
    pub(super) same: u64,
    pub(super) seconds: f64,
}

pub(super) struct Work<'a, M: Model> {
    pub(super) args: &'a ScoreArgs,
    pub(super) model: &'a M,
    pub(super) job: &'a Job,
    pub(super) input: &'a JobInput,
    pub(super) interrupt: &'a Interrupt,
    pub(super) progress: &'a Progress,
}

/// What is under way.
pub(super) struct State<O> {
    pub(super) known: KnownOutcomes<O>,
    pub(super) shards: BTreeMap<usize, UnderWay<O>>,
    pub(super) waiting: Waiting,
    /// Records that wait no more.
    pub(super) ready: VecDeque<Prepared>,
    /// The shard that is read at the moment.
    reading: Option<(Shard, ShardRecords)>,
    /// A shard whose owners have died, for when nothing else is under way.
    suspect: Option<Shard>,
    /// The number of one that is waited for.
    awaited_suspect: Option<usize>,
    is_done: bool,
    /// Why no more is read.
    problem: Option<anyhow::Error>,
    pub(super) tally: Tally,
}

impl<O> State<O> {
    /// Records that are done, of shards that are not complete.
    fn open_records(&self) -> u64 {
        let open = self.shards.values().map(|shard| shard.lines.len() as u64);
        open.sum()
    }
}

pub(super) struct Run<'a, 'w, M: Model> {
    pub(super) work: &'w Work<'a, M>,
    pub(super) state: RefCell<State<M::Outcome>>,
    /// Whether a record cannot be scored, so that what comes after it would be scored for nothing.
    is_refused: Cell<bool>,
    committing: Committing,
}

impl<M: Model> Work<'_, M> {
    /// Scores what is left of the job, with whoever else works on it.
    pub(super) fn run(&self) -> Result<(Ended, Tally)> {
        let begun = Instant::now();
        thread::scope(|scope| {
            let (committing, committer) = commit::start(scope, self.job, self.progress.handle())?;
            let run = Run {
                work: self,
                state: RefCell::new(State {
                    known: KnownOutcomes::new(self.is_deduplicated()),
                    shards: BTreeMap::new(),
                    waiting: Waiting::default(),
                    ready: VecDeque::new(),
                    reading: None,
                    suspect: None,
                    awaited_suspect: None,
                    is_done: false,
                    problem: None,
                    tally: Tally::default(),
                }),
                is_refused: Cell::new(false),
                committing,
            };
            let ended = run.all();
            run.give_back();
            let mut tally = run.state.borrow().tally;
            tally.seconds = begun.elapsed().as_secs_f64();
            // It ends when there is nobody left to give it shards.
            drop(run);
            // Whatever went wrong on the disk is why the rest did.
            match committer.end() {
                Some(problem) => Err(problem),
                None => Ok((ended?, tally)),
            }
        })
    }
}

impl<M: Model> Work<'_, M> {
    pub(super) fn is_deduplicated(&self) -> bool {
        self.args.job.deduplicate == Deduplication::Always
    }

    /// A shard that is begun, with the outcomes that an owner before has left.
    pub(super) fn under_way(&self, shard: &Shard) -> Result<UnderWay<M::Outcome>> {
        if !self.is_deduplicated() {
            return Ok(UnderWay::new(shard.clone(), Repeats::default()));
        }
        let mut under_way = UnderWay::new(shard.clone(), self.job.repeats(shard.number)?);
        if shard.known.is_empty() {
            return Ok(under_way);
        }
        let mut records = self.input.records(self.job, shard)?;
        while let Some(found) = records.next(self.input, shard)? {
            let record = records.number() - 1;
            let Some(line) = shard.known.get(&record) else {
                continue;
            };
            let contents = self.prepare((shard.number, record), found).contents;
            for (part, content) in contents.into_iter().enumerate() {
                if let Some(outcome) = outcome::<M>(&line.bytes, part) {
                    under_way.remember(content, &Arc::new(OnceLock::from(outcome)));
                }
            }
        }
        Ok(under_way)
    }

    pub(super) fn prepare(&self, place: (usize, u64), found: Found) -> Prepared {
        Prepared::new(
            place,
            found,
            self.args.records.allow_no_answer,
            M::WHOLE_RECORDS,
        )
    }
}

impl<M: Model> Run<'_, '_, M> {
    fn all(&self) -> Result<Ended> {
        let mut wait = WAITS.0;
        let mut reported = None;
        loop {
            let mut items = std::iter::from_fn(|| self.next_item());
            let before = self.state.borrow().tally.records;
            self.work
                .model
                .score(&mut items, &mut |item, outcomes| self.take(item, outcomes))?;
            if let Some(problem) = self.state.borrow_mut().problem.take() {
                return Err(problem);
            }
            if self.committing.has_failed() {
                bail!("results could not be kept");
            }
            if self.work.interrupt.asked() {
                return Ok(Ended::Interrupted);
            }
            let awaited_suspect = self.state.borrow_mut().awaited_suspect.take();
            if let Some(shard) = awaited_suspect {
                self.make_way(shard)?;
            }
            let suspect = self.state.borrow_mut().suspect.take();
            if let Some(shard) = suspect {
                self.one_by_one(shard)?;
                continue;
            }
            if self.state.borrow().is_done {
                return Ok(Ended::Done);
            }
            // Others have the rest, or it waits for the disk.
            self.work
                .progress
                .look(self.work.job, self.state.borrow().open_records());
            let has_scored = self.state.borrow().tally.records > before;
            wait = match has_scored {
                true => WAITS.0,
                false => (wait * 2).min(WAITS.1),
            };
            if wait == WAITS.1 {
                self.report_waiting(&mut reported);
            }
            thread::sleep(wait);
        }
    }

    /// The next record that is to be scored with others.
    fn next_item(&self) -> Option<(Item<M::Outcome>, Vec<Conversation>)> {
        loop {
            if self.is_refused.get() || self.work.interrupt.asked() || self.committing.has_failed()
            {
                return None;
            }
            match self.try_next() {
                Ok(Next::Item(item)) => {
                    let is_refused =
                        item.0.place.entry.check().is_err() && !self.work.args.keep_going;
                    self.is_refused.set(is_refused);
                    return Some(*item);
                }
                Ok(Next::Again) => {}
                Ok(Next::Nothing) => return None,
                Err(problem) => {
                    self.state.borrow_mut().problem = Some(problem);
                    return None;
                }
            }
        }
    }

    fn try_next(&self) -> Result<Next<M::Outcome>> {
        let state = &mut *self.state.borrow_mut();
        if state.waiting.is_due() {
            self.look_at_waiting(state)?;
        }
        if let Some(prepared) = state.ready.pop_front() {
            return self.released(state, prepared);
        }
        let Some((shard, mut records)) = state.reading.take() else {
            return self.begin(state);
        };
        let Some(found) = records.next(self.work.input, &shard)? else {
            // One without records is complete as it is.
            self.complete(state, shard.number);
            return Ok(Next::Again);
        };
        let record = records.number() - 1;
        let (number, is_known) = (shard.number, shard.known.contains_key(&record));
        state.reading = Some((shard, records));
        if is_known {
            self.complete(state, number);
            return Ok(Next::Again);
        }
        let prepared = self.work.prepare((number, record), found);
        match self.awaited(state, &prepared)? {
            Some(shard) => {
                state.waiting.add(shard, prepared);
                Ok(Next::Again)
            }
            None => Ok(Next::Item(Box::new(self.item(state, prepared)?))),
        }
    }

    /// A record that waits no more. What came of its contents is known as a rule, and then it need not go behind what the
    /// model has before it: others may wait for its shard.
    fn released(
        &self,
        state: &mut State<M::Outcome>,
        prepared: Prepared,
    ) -> Result<Next<M::Outcome>> {
        let (item, wanted) = self.item(state, prepared)?;
        if !wanted.is_empty() || !item.is_known() {
            return Ok(Next::Item(Box::new((item, wanted))));
        }
        let (shard, record) = (item.shard, item.record);
        let line = self.line(item, Vec::new())?;
        self.keep(state, (shard, record), line);
        Ok(Next::Again)
    }

    pub(super) fn item(
        &self,
        state: &mut State<M::Outcome>,
        prepared: Prepared,
    ) -> Result<(Item<M::Outcome>, Vec<Conversation>)> {
        let mut outcomes = Vec::with_capacity(prepared.parts.len());
        let mut wanted = Vec::new();
        for (part, content) in prepared.parts.into_iter().zip(prepared.contents) {
            let (place, is_new) = self.place(state, prepared.shard, content)?;
            match is_new {
                true => wanted.extend(part),
                false => state.tally.same += 1,
            }
            outcomes.push((place, is_new));
        }
        let item = Item {
            shard: prepared.shard,
            record: prepared.record,
            place: prepared.place,
            outcomes,
        };
        Ok((item, wanted))
    }

    /// Takes a record with what came of those of its conversations that were scored for it.
    fn take(&self, item: Item<M::Outcome>, came: Vec<M::Outcome>) -> Result<()> {
        let (shard, record) = (item.shard, item.record);
        let line = self.line(item, came)?;
        self.keep(&mut self.state.borrow_mut(), (shard, record), line);
        Ok(())
    }

    fn keep(&self, state: &mut State<M::Outcome>, (shard, record): (usize, u64), line: Line) {
        state.tally.records += 1;
        if let Some(under_way) = state.shards.get_mut(&shard) {
            under_way.lines.insert(record, line);
        }
        self.complete(state, shard);
        self.work.progress.look(self.work.job, state.open_records());
    }

    /// Hands a shard over when it is complete.
    fn complete(&self, state: &mut State<M::Outcome>, shard: usize) {
        if state.shards.get(&shard).is_some_and(UnderWay::is_complete)
            && let Some(UnderWay { shard, lines, .. }) = state.shards.remove(&shard)
        {
            self.committing.commit(Complete { shard, lines });
        }
    }

    pub(super) fn line(&self, item: Item<M::Outcome>, came: Vec<M::Outcome>) -> Result<Line> {
        let mut came = came.into_iter();
        let mut all = Vec::with_capacity(item.outcomes.len());
        for (place, is_mine) in &item.outcomes {
            if *is_mine && let Some(outcome) = came.next() {
                // Nobody else fills it.
                let _ = place.set(outcome);
            }
            // What it is the same as came before it.
            all.extend(place.get().cloned());
        }
        let answer = self.work.model.answer(&item.place.entry, all);
        self.answer_line(&item.place, answer.map(Outcome::Answer))
    }

    pub(super) fn answer_line(
        &self,
        place: &Place,
        outcome: Result<Outcome, Unanswered>,
    ) -> Result<Line> {
        let (outcome, failure) = match outcome {
            Ok(outcome) => (outcome, None),
            Err(unanswered) => {
                let error = unanswered.problem;
                if !self.work.args.keep_going || unanswered.ends_all {
                    bail!("{place}: {error}");
                }
                let line = place.entry.line;
                let outcome = Outcome::Failure { line, error };
                (outcome, Some(unanswered.kind.to_owned()))
            }
        };
        let id = place.id();
        Ok(Line {
            bytes: serde_json::to_vec(&AnswerLine { id, outcome })?,
            failure,
        })
    }
}

enum Next<O> {
    Item(Box<(Item<O>, Vec<Conversation>)>),
    /// There may be one now.
    Again,
    Nothing,
}
