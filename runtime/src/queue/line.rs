//! Who is in the queue, and whose turn it is. No threads and no clock: the time is passed in.
//!
//! Turns are by start-time fair queueing (P. Goyal, H. Vin, H. Cheng, *Start-time Fair Queueing*, 1996). Each flow, which
//! is a caller's sequences of one priority, has a virtual time that grows with the tokens that were planned for it. A pack
//! has the time at which the flow of one of its members stood before it, and the pack of the earliest time is next. A flow
//! that comes anew begins at the time of the pack that went last, so that it waits for nobody's backlog.

// With paths for the model check, which has this file elsewhere.
#[path = "line/pace.rs"]
mod pace;
#[path = "line/planned.rs"]
mod planned;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use self::pace::Pace;
use super::{
    error::QueueError,
    options::{Caller, Priority, QueueOptions, RequestOptions},
    sync::Arc,
};
use crate::{
    batch::{BatchError, Pack, PlanStats},
    engine::{Cancellation, Capacity},
};

/// Most sequences that are planned together: enough to find those that share a beginning.
const WINDOW_SEQUENCES: usize = 1 << 13;
/// Most tokens of them, in packs.
const WINDOW_PACKS: usize = 1 << 10;

/// A sequence, and where it is scored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sequence {
    /// Token ids, up to the last one that is scored.
    pub ids: Vec<u32>,
    /// Positions of those that are scored.
    pub scored: Vec<usize>,
}

impl Sequence {
    /// A sequence that is scored at these positions. What follows the last of them has no say and is left out.
    #[must_use]
    pub fn new(mut ids: Vec<u32>, scored: Vec<usize>) -> Self {
        let used = scored.iter().max().map_or(0, |last| last + 1);
        ids.truncate(used);
        Self { ids, scored }
    }

    /// Whether it can be computed: what is wrong with one must not touch those that it would be planned with.
    pub(super) fn check(&self) -> Result<(), BatchError> {
        if self.ids.is_empty() {
            return Err(BatchError::EmptySequence { index: 0 });
        }
        let tokens = self.ids.len();
        match self.scored.iter().find(|&&position| position >= tokens) {
            Some(&position) => Err(BatchError::NoSuchPosition {
                index: 0,
                tokens,
                position,
            }),
            None => Ok(()),
        }
    }
}

/// The sequences that were admitted and have no outcome yet. `T` is what is kept of each for its outcome.
pub(super) struct Line<T> {
    options: QueueOptions,
    /// Tokens of a full pack.
    pack_tokens: usize,
    entries: HashMap<u64, Entry<T>>,
    next_id: u64,
    /// Tokens of all entries.
    tokens: usize,
    flows: BTreeMap<FlowKey, Flow>,
    /// The time of the pack that went last.
    virtual_time: u64,
    /// Entries in no pack, and their tokens.
    waiting: (usize, usize),
    deadlines: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Entries as they came, and when; many may be gone.
    arrivals: VecDeque<(u64, Instant)>,
    planned: BTreeMap<Turn, PlannedPack>,
    running: HashMap<u64, RunningPack>,
    next_pack: u64,
    running_tokens: usize,
    pace: Pace,
}

type FlowKey = (Priority, Caller);

/// When a pack goes: by its time, then by its number.
type Turn = (u64, u64);

struct Entry<T> {
    kept: T,
    tokens: usize,
    at: At,
}

enum At {
    Waiting {
        sequence: Sequence,
        since: Instant,
        flow: FlowKey,
        put_back: u8,
    },
    /// Taken out to be planned.
    Window {
        since: Instant,
        put_back: u8,
    },
    Planned(Turn),
    Running(u64),
}

#[derive(Default)]
struct Flow {
    /// Those of its entries that are in no pack; some may be gone.
    waiting: VecDeque<u64>,
    time: u64,
}

/// Sequences that are planned together.
pub(super) struct Window {
    ids: Vec<u64>,
    flows: Vec<FlowKey>,
    /// What each counts for its flow.
    costs: Vec<u64>,
    /// The times of the flows before.
    times: BTreeMap<FlowKey, u64>,
    pub(super) sequences: Vec<Vec<u32>>,
    pub(super) scored: Vec<Vec<usize>>,
}

struct PlannedPack {
    pack: Pack,
    work: PlanStats,
    window: Arc<Window>,
    /// Members that somebody waits for.
    wanted: usize,
}

struct RunningPack {
    members: Vec<u64>,
    sent: Instant,
    tokens: usize,
    wanted: usize,
    cancellation: Arc<Cancellation>,
}

/// A pack that goes to the engine.
pub(super) struct Departure {
    pub(super) number: u64,
    pub(super) pack: Pack,
    pub(super) work: PlanStats,
    pub(super) window: Arc<Window>,
    pub(super) cancellation: Arc<Cancellation>,
}

/// What is to be done next.
pub(super) enum Next {
    /// Plan these.
    Plan(Window),
    /// Give these to the engine.
    Send(Vec<Departure>),
    /// Nothing, until something happens or that much time has passed.
    Wait(Option<Duration>, Arrivals),
}

/// Which arrivals change what is to be done. A thread that waits is not woken by the others: that would cost more than
/// admitting them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrivals {
    /// All of them.
    Matter,
    /// The one that makes up so many tokens that wait.
    MatterFrom(usize),
    /// None: the engine has enough to do.
    DoNotMatter,
}

/// What became of a withdrawn entry.
pub(super) struct Withdrawn<T> {
    pub(super) kept: T,
    /// A run of the model that nobody waits for any more.
    pub(super) unwanted: Option<Arc<Cancellation>>,
}

impl<T> Line<T> {
    pub(super) fn new(options: QueueOptions, pack_tokens: usize) -> Self {
        Self {
            options,
            pack_tokens,
            entries: HashMap::new(),
            next_id: 0,
            tokens: 0,
            flows: BTreeMap::new(),
            virtual_time: 0,
            waiting: (0, 0),
            deadlines: BinaryHeap::new(),
            arrivals: VecDeque::new(),
            planned: BTreeMap::new(),
            running: HashMap::new(),
            next_pack: 0,
            running_tokens: 0,
            pace: Pace::default(),
        }
    }

    /// Conversations that were admitted and have no outcome yet.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Their tokens.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Packs that the engine has in hand.
    pub(super) fn running_packs(&self) -> usize {
        self.running.len()
    }

    /// When the oldest entry came that the engine does not have in hand yet.
    pub(super) fn oldest_waiting(&self) -> Option<Instant> {
        let waits = |id| match self.entries.get(id) {
            Some(entry) => !matches!(entry.at, At::Running(_)),
            None => false,
        };
        let mut arrivals = self.arrivals.iter();
        arrivals.find(|(id, _)| waits(id)).map(|(_, since)| *since)
    }

    /// Whether nothing waits and nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.running.is_empty()
    }

    /// Whether a sequence of so many tokens may be admitted.
    pub(super) fn has_room(&self, tokens: usize) -> bool {
        let fits = self.tokens.saturating_add(tokens) <= self.options.max_tokens;
        self.entries.is_empty() || fits && self.entries.len() < self.options.max_conversations
    }

    pub(super) fn full(&self) -> QueueError {
        QueueError::Full {
            conversations: self.entries.len(),
            tokens: self.tokens,
        }
    }

    /// Admits a sequence, whether there is room or not, and gives its number.
    pub(super) fn admit(
        &mut self,
        sequence: Sequence,
        request: &RequestOptions,
        kept: T,
        now: Instant,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let tokens = sequence.ids.len();
        self.tokens += tokens;
        self.waiting.0 += 1;
        self.waiting.1 += tokens;
        if let Some(deadline) = request.deadline {
            self.deadlines.push(Reverse((deadline, id)));
        }
        let key = (request.priority, request.caller);
        let flow = self.flows.entry(key).or_default();
        if flow.waiting.is_empty() {
            flow.time = flow.time.max(self.virtual_time);
        }
        flow.waiting.push_back(id);
        let at = At::Waiting {
            sequence,
            since: now,
            flow: key,
            put_back: 0,
        };
        self.entries.insert(id, Entry { kept, tokens, at });
        if self.arrivals.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.arrivals.retain(|(id, _)| entries.contains_key(id));
        }
        self.arrivals.push_back((id, now));
        id
    }

    /// Takes out everything: nothing will be planned any more.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.planned.clear();
        self.flows.clear();
        self.arrivals.clear();
        (self.tokens, self.waiting) = (0, (0, 0));
        self.entries.drain().map(|(_, entry)| entry.kept).collect()
    }

    /// Takes an entry out that nobody waits for; `None` where it has its outcome already.
    pub(super) fn withdraw(&mut self, id: u64) -> Option<Withdrawn<T>> {
        let Entry { kept, tokens, at } = self.entries.remove(&id)?;
        self.tokens -= tokens;
        let mut unwanted = None;
        match at {
            At::Waiting { flow, .. } => {
                self.waiting.0 -= 1;
                self.waiting.1 -= tokens;
                // Those in the middle stay in the line until it is their turn.
                if let Some(flow) = self.flows.get_mut(&flow) {
                    drop_gone(&mut flow.waiting, &self.entries);
                }
            }
            At::Window { .. } => {}
            At::Planned(turn) => {
                if let Some(pack) = self.planned.get_mut(&turn) {
                    pack.wanted -= 1;
                    if pack.wanted == 0 {
                        self.planned.remove(&turn);
                    }
                }
            }
            At::Running(number) => {
                if let Some(pack) = self.running.get_mut(&number) {
                    pack.wanted -= 1;
                    unwanted = (pack.wanted == 0).then(|| Arc::clone(&pack.cancellation));
                }
            }
        }
        Some(Withdrawn { kept, unwanted })
    }

    /// Takes out what was to be done by now.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Withdrawn<T>> {
        let mut expired = Vec::new();
        while let Some(Reverse((deadline, id))) = self.deadlines.peek().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop();
            expired.extend(self.withdraw(id));
        }
        expired
    }

    /// What is to be done, with an engine of this capacity.
    pub(super) fn next(&mut self, capacity: Capacity, now: Instant, closed: bool) -> Next {
        let mut wake = self
            .deadlines
            .peek()
            .map(|Reverse((deadline, _))| *deadline);
        let mut arrivals = Arrivals::DoNotMatter;
        if self.has_use(capacity) {
            arrivals = Arrivals::Matter;
            let first_planned = self.planned.first_key_value().map(|(turn, _)| turn.0);
            let first_waiting = self.waiting_flows().map(|(time, _)| time).min();
            match (first_waiting, first_planned) {
                (Some(waiting), Some(planned)) if waiting < planned => {
                    return Next::Plan(self.take_window(Some(planned)));
                }
                (_, Some(_)) => return Next::Send(self.depart(capacity, now)),
                (Some(_), None) => match self.waits_until(capacity, now).filter(|_| !closed) {
                    Some((until, matter)) => {
                        wake = Some(wake.map_or(until, |wake| wake.min(until)));
                        arrivals = matter;
                    }
                    None => return Next::Plan(self.take_window(None)),
                },
                (None, None) => {}
            }
        }
        let time = wake.map(|wake| wake.saturating_duration_since(now));
        Next::Wait(time, arrivals)
    }

    /// Whether a thread that waits has to look again, since something has arrived.
    pub(super) fn is_news(&self, arrivals: Arrivals, request: &RequestOptions) -> bool {
        request.deadline.is_some()
            || match arrivals {
                Arrivals::Matter => true,
                Arrivals::MatterFrom(tokens) => self.waiting.1 >= tokens,
                Arrivals::DoNotMatter => false,
            }
    }

    /// Until when to wait for others, and which of them end that; `None` when it is time to plan.
    fn waits_until(&self, capacity: Capacity, now: Instant) -> Option<(Instant, Arrivals)> {
        let fills = self.fills_until();
        let matter = fills.map(|until| (until, Arrivals::MatterFrom(self.pack_tokens)));
        let no_hurry = self.no_hurry_until(capacity);
        let no_hurry = no_hurry.map(|until| (until, Arrivals::DoNotMatter));
        let latest = no_hurry
            .into_iter()
            .chain(matter)
            .max_by_key(|(until, _)| *until);
        latest.filter(|(until, _)| *until > now)
    }

    /// Until when the engine, which computes as many packs as it can, does not need the one that is next.
    fn no_hurry_until(&self, capacity: Capacity) -> Option<Instant> {
        if self.options.max_delay.is_zero() || self.running.len() + 1 != capacity.packs {
            return None;
        }
        let oldest = self.running.iter().min_by_key(|(number, _)| **number);
        oldest.and_then(|(_, pack)| self.pace.no_hurry_until(pack.sent, pack.tokens))
    }

    /// Until when to wait for others that fill a pack; `None` when there is one, or none is waited for.
    fn fills_until(&self) -> Option<Instant> {
        if self.options.max_delay.is_zero() || self.waiting.1 >= self.pack_tokens {
            return None;
        }
        let first = |flow: &Flow| match self.entries.get(flow.waiting.front()?)?.at {
            At::Waiting { since, .. } => Some(since),
            _ => None,
        };
        let oldest = self.flows.values().filter_map(first).min()?;
        oldest.checked_add(self.options.max_delay)
    }

    /// The flows with something that waits, and the times at which they stand.
    fn waiting_flows(&self) -> impl Iterator<Item = (u64, FlowKey)> {
        let flows = self.flows.iter();
        flows
            .filter(|(_, flow)| !flow.waiting.is_empty())
            .map(|(key, flow)| (flow.time, *key))
    }

    /// Takes out what is planned together: of the flow that is furthest behind first. With packs that are planned already,
    /// only what goes before `planned`, the first of them, and what fills a pack with it.
    fn take_window(&mut self, planned: Option<u64>) -> Window {
        let most_tokens = self.pack_tokens.saturating_mul(WINDOW_PACKS);
        let mut window = Window {
            ids: Vec::new(),
            flows: Vec::new(),
            costs: Vec::new(),
            times: BTreeMap::new(),
            sequences: Vec::new(),
            scored: Vec::new(),
        };
        let mut turns: BinaryHeap<_> = self.waiting_flows().map(Reverse).collect();
        let mut taken = 0_usize;
        while let Some(Reverse((time, key))) = turns.pop() {
            let fills = taken < self.pack_tokens;
            let is_late = planned.is_some_and(|planned| time >= planned);
            if taken >= most_tokens || window.ids.len() >= WINDOW_SEQUENCES || is_late && !fills {
                break;
            }
            let Some(flow) = self.flows.get_mut(&key) else {
                continue;
            };
            let Some(id) = flow.waiting.pop_front() else {
                continue;
            };
            let Some(entry) = self.entries.get_mut(&id) else {
                drop_gone(&mut flow.waiting, &self.entries);
                if !flow.waiting.is_empty() {
                    turns.push(Reverse((flow.time, key)));
                }
                continue;
            };
            if let At::Waiting {
                since, put_back, ..
            } = entry.at
                && let At::Waiting { sequence, .. } =
                    std::mem::replace(&mut entry.at, At::Window { since, put_back })
            {
                let cost = entry.tokens as u64 * key.0.cost();
                window.times.entry(key).or_insert(flow.time);
                flow.time += cost;
                taken += entry.tokens;
                self.waiting.0 -= 1;
                self.waiting.1 -= entry.tokens;
                window.ids.push(id);
                window.flows.push(key);
                window.costs.push(cost);
                window.sequences.push(sequence.ids);
                window.scored.push(sequence.scored);
            }
            drop_gone(&mut flow.waiting, &self.entries);
            if !flow.waiting.is_empty() {
                turns.push(Reverse((flow.time, key)));
            }
        }
        window
    }

    /// Takes out the entries of a window that could not be planned.
    pub(super) fn refuse(&mut self, window: &Window) -> Vec<T> {
        let ids = window.ids.iter();
        ids.filter_map(|&id| Some(self.withdraw(id)?.kept))
            .collect()
    }

    /// Whether the engine has use for another pack.
    fn has_use(&self, capacity: Capacity) -> bool {
        let enough = self.running.len() >= 2 && self.running_tokens >= capacity.tokens;
        self.running.is_empty() || self.running.len() < capacity.packs && !enough
    }

    /// The packs that go now: as many as the engine has use for.
    fn depart(&mut self, capacity: Capacity, now: Instant) -> Vec<Departure> {
        let mut departures = Vec::new();
        while self.has_use(capacity)
            && let Some(((turn, number), planned)) = self.planned.pop_first()
        {
            self.virtual_time = self.virtual_time.max(turn);
            let cancellation = Arc::new(Cancellation::default());
            let ids = planned.pack.members.iter().map(|&m| planned.window.ids[m]);
            let members: Vec<u64> = ids.collect();
            for id in &members {
                if let Some(entry) = self.entries.get_mut(id) {
                    entry.at = At::Running(number);
                }
            }
            self.running_tokens += planned.pack.tokens;
            self.running.insert(
                number,
                RunningPack {
                    members,
                    sent: now,
                    tokens: planned.pack.tokens,
                    wanted: planned.wanted,
                    cancellation: Arc::clone(&cancellation),
                },
            );
            departures.push(Departure {
                number,
                pack: planned.pack,
                work: planned.work,
                window: planned.window,
                cancellation,
            });
        }
        let virtual_time = self.virtual_time;
        // Whoever is ahead of the others is remembered, or coming back would bring a new share.
        self.flows
            .retain(|_, flow| !flow.waiting.is_empty() || flow.time > virtual_time);
        departures
    }

    /// Notes that the engine has answered a pack. What was kept of its members, in their order; `None` for those that nobody
    /// waits for.
    pub(super) fn finish(&mut self, number: u64, now: Instant) -> Vec<Option<T>> {
        let Some(pack) = self.running.remove(&number) else {
            return Vec::new();
        };
        self.running_tokens -= pack.tokens;
        self.pace.answered(pack.sent, pack.tokens, now);
        let mut finished = Vec::with_capacity(pack.members.len());
        for id in pack.members {
            let entry = self.entries.remove(&id);
            self.tokens -= entry.as_ref().map_or(0, |entry| entry.tokens);
            finished.push(entry.map(|entry| entry.kept));
        }
        if self.deadlines.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.deadlines
                .retain(|Reverse((_, id))| entries.contains_key(id));
        }
        finished
    }
}

/// Takes entries off the front of a flow that are gone.
fn drop_gone<T>(waiting: &mut VecDeque<u64>, entries: &HashMap<u64, Entry<T>>) {
    while waiting.front().is_some_and(|id| !entries.contains_key(id)) {
        waiting.pop_front();
    }
}
