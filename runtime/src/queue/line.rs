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
#[path = "line/waits.rs"]
mod waits;
#[path = "line/window.rs"]
mod window;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use self::pace::Pace;
use super::{
    error::QueueError,
    options::{Caller, Priority, QueueOptions, RequestOptions},
    sequence::Sequence,
    sync::Arc,
};
use crate::{
    batch::{Pack, PlanStats},
    engine::{Cancellation, Capacity},
};

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

    /// The flows with something that waits, and the times at which they stand.
    fn waiting_flows(&self) -> impl Iterator<Item = (u64, FlowKey)> {
        let flows = self.flows.iter();
        flows
            .filter(|(_, flow)| !flow.waiting.is_empty())
            .map(|(key, flow)| (flow.time, *key))
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
