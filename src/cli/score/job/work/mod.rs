//! The shards of a job, scored one behind the other so that packs stay full, and committed as they are complete.

mod alone;
mod commit;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use worldpm_ort_jobs::{Claim, Job, JobError, Line, Repeats, Shard};

use self::commit::{Committing, Complete};
use super::{
    found::Found,
    input::{JobInput, ShardRecords},
    item::{Item, Prepared},
    known::KnownOutcomes,
    model::{Model, Unanswered},
    progress::Progress,
};
use crate::{
    Conversation,
    answers::{AnswerLine, Outcome},
    cli::{
        common::interrupt::Interrupt,
        score::{args::ScoreArgs, input::Place, job_args::Deduplication},
    },
};

/// Shards that are begun while a record waits for what another process computes. Then it is computed here as well.
const PATIENCE: u64 = 4;
/// How long it is waited before another look at what others do; the longest after many in vain.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

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
struct State<O> {
    known: KnownOutcomes<O>,
    shards: BTreeMap<usize, UnderWay>,
    /// Records whose contents another process has under way, and how many shards were begun before.
    waiting: VecDeque<(u64, Prepared)>,
    /// Those that wait no more.
    ready: VecDeque<Prepared>,
    begun: u64,
    /// The shard that is read at the moment.
    reading: Option<(Shard, ShardRecords)>,
    /// A shard whose owners have died, for when nothing else is under way.
    suspect: Option<Shard>,
    is_done: bool,
    /// Why no more is read.
    problem: Option<anyhow::Error>,
    tally: Tally,
}

struct UnderWay {
    shard: Shard,
    lines: BTreeMap<u64, Line>,
    /// What of it was in an earlier one.
    repeats: Arc<Repeats>,
}

struct Run<'a, 'w, M: Model> {
    work: &'w Work<'a, M>,
    state: RefCell<State<M::Outcome>>,
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
                    waiting: VecDeque::new(),
                    ready: VecDeque::new(),
                    begun: 0,
                    reading: None,
                    suspect: None,
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

    fn is_deduplicated(&self) -> bool {
        self.args.job.deduplicate == Deduplication::Always
    }

    fn repeats(&self, shard: usize) -> Result<Repeats> {
        Ok(match self.is_deduplicated() {
            true => self.job.repeats(shard)?,
            false => Repeats::default(),
        })
    }

    fn prepare(&self, place: (usize, u64), found: Found) -> Prepared {
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
            let suspect = self.state.borrow_mut().suspect.take();
            if let Some(shard) = suspect {
                self.one_by_one(shard)?;
                continue;
            }
            if self.state.borrow().is_done {
                return Ok(Ended::Done);
            }
            // Others have the rest, or it waits for the disk.
            self.work.progress.look(self.work.job, 0);
            let has_scored = self.state.borrow().tally.records > before;
            wait = match has_scored {
                true => WAITS.0,
                false => (wait * 2).min(WAITS.1),
            };
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
        if let Some(prepared) = state.ready.pop_front() {
            return self.next_of(state, prepared);
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
        if self.awaits(state, &prepared)? {
            state.waiting.push_back((state.begun, prepared));
            return Ok(Next::Again);
        }
        self.next_of(state, prepared)
    }

    fn next_of(
        &self,
        state: &mut State<M::Outcome>,
        prepared: Prepared,
    ) -> Result<Next<M::Outcome>> {
        let repeats = state.shards.get(&prepared.shard);
        let repeats = repeats.map_or_else(Arc::default, |shard| Arc::clone(&shard.repeats));
        Ok(Next::Item(Box::new(self.item(state, &repeats, prepared)?)))
    }

    /// Whether another process has a part of a record under way.
    fn awaits(&self, state: &mut State<M::Outcome>, prepared: &Prepared) -> Result<bool> {
        let State { shards, known, .. } = state;
        let Some(under_way) = shards.get(&prepared.shard) else {
            return Ok(false);
        };
        let is_ours = |shard| shards.contains_key(&shard);
        known.awaits(
            self.work.job,
            &under_way.repeats,
            &prepared.contents,
            is_ours,
        )
    }

    /// Takes another shard.
    fn begin(&self, state: &mut State<M::Outcome>) -> Result<Next<M::Outcome>> {
        match self.work.job.claim()? {
            Claim::Shard(shard) if shard.alone => state.suspect = Some(shard),
            Claim::Shard(shard) => {
                let records = self.work.input.records(self.work.job, &shard)?;
                let under_way = UnderWay {
                    shard: shard.clone(),
                    lines: shard.known.clone(),
                    repeats: Arc::new(self.work.repeats(shard.number)?),
                };
                state.shards.insert(shard.number, under_way);
                state.reading = Some((shard, records));
                state.begun += 1;
                state.known.look_again();
                for (since, prepared) in std::mem::take(&mut state.waiting) {
                    let has_waited = state.begun - since >= PATIENCE;
                    match has_waited || !self.awaits(state, &prepared)? {
                        true => state.ready.push_back(prepared),
                        false => state.waiting.push_back((since, prepared)),
                    }
                }
                return Ok(Next::Again);
            }
            // What is waited for may be with a process that waits itself.
            Claim::Wait | Claim::Done if !state.waiting.is_empty() => {
                state.known.look_again();
                let waiting = state.waiting.drain(..).map(|(_, prepared)| prepared);
                state.ready.extend(waiting);
                return Ok(Next::Again);
            }
            Claim::Wait => {}
            Claim::Done => state.is_done = true,
        }
        Ok(Next::Nothing)
    }

    fn item(
        &self,
        state: &mut State<M::Outcome>,
        repeats: &Repeats,
        prepared: Prepared,
    ) -> Result<(Item<M::Outcome>, Vec<Conversation>)> {
        let mut outcomes = Vec::with_capacity(prepared.parts.len());
        let mut wanted = Vec::new();
        for (part, content) in prepared.parts.into_iter().zip(prepared.contents) {
            let known = state.known.place::<M>(self.work.job, repeats, content);
            let (place, is_new) = known?;
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
        let mut state = self.state.borrow_mut();
        state.tally.records += 1;
        if let Some(under_way) = state.shards.get_mut(&shard) {
            under_way.lines.insert(record, line);
        }
        self.complete(&mut state, shard);
        let open = state.shards.values().map(|shard| shard.lines.len() as u64);
        self.work.progress.look(self.work.job, open.sum());
        Ok(())
    }

    /// Hands a shard over when it is complete.
    fn complete(&self, state: &mut State<M::Outcome>, shard: usize) {
        let is_complete = |of: &UnderWay| of.lines.len() as u64 == of.shard.stretch.records;
        if state.shards.get(&shard).is_some_and(is_complete)
            && let Some(UnderWay { shard, lines, .. }) = state.shards.remove(&shard)
        {
            self.committing.commit(Complete { shard, lines });
        }
    }

    fn line(&self, item: Item<M::Outcome>, came: Vec<M::Outcome>) -> Result<Line> {
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

    fn answer_line(&self, place: &Place, outcome: Result<Outcome, Unanswered>) -> Result<Line> {
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

    /// Gives back what is not complete, with the results that there are.
    fn give_back(&self) {
        let mut state = self.state.borrow_mut();
        state.reading = None;
        state.waiting.clear();
        state.ready.clear();
        if let Some(shard) = state.suspect.take() {
            let _ = self.work.job.give_back(&shard, &BTreeMap::new());
        }
        for (
            _,
            UnderWay {
                shard, mut lines, ..
            },
        ) in std::mem::take(&mut state.shards)
        {
            // Those of an input that has changed are of no use.
            if self.work.input.check(&shard).is_err() {
                lines.clear();
            }
            if let Err(JobError::Io { source, .. }) = self.work.job.give_back(&shard, &lines) {
                self.work.progress.report(&format!(
                    "note: {} results of a shard that is not complete could not be kept: {source}",
                    lines.len()
                ));
            }
        }
    }
}

enum Next<O> {
    Item(Box<(Item<O>, Vec<Conversation>)>),
    /// There may be one now.
    Again,
    Nothing,
}
