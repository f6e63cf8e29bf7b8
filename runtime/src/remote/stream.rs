//! Records to servers, and their answers in order.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use super::{
    balance::{Balance, Came},
    error::RemoteError,
    options::RemoteOptions,
    post::{Reply, Servers},
    request::{self, Answered},
};
use crate::{records::Entry, text::Conversation};

/// Bytes of a request after which no more records are put into it.
const REQUEST_BYTES: usize = 4 << 20;

/// Scores by servers. See the [module](super).
pub struct RemoteScorer {
    shared: Arc<Shared>,
}

struct Shared {
    servers: Servers,
    balance: Balance,
    options: RemoteOptions,
}

/// Iterator over `(item, the answer to it)`; made by [`RemoteScorer::stream`]. It ends after an error.
pub struct RemoteStream<T, I> {
    items: I,
    /// Makes the line of an item.
    line: fn(&T, &[Conversation]) -> String,
    /// Most conversations of a request.
    most: usize,
    requests: Option<Sender<(u64, Request)>>,
    replies: Receiver<(u64, Result<Vec<Answered>, RemoteError>)>,
    /// Items of requests under way, in order.
    under_way: VecDeque<(u64, Vec<(T, bool)>)>,
    /// Replies that came before their turn.
    early: BTreeMap<u64, Result<Vec<Answered>, RemoteError>>,
    ready: VecDeque<(T, Option<Answered>)>,
    most_under_way: usize,
    next: u64,
    workers: Vec<JoinHandle<()>>,
    ended: bool,
}

/// Lines to send.
struct Request(Vec<String>);

impl RemoteScorer {
    /// # Errors
    /// [`RemoteError::Address`] for an endpoint that cannot be asked.
    pub fn new(options: RemoteOptions) -> Result<Self, RemoteError> {
        let servers = Servers::new(&options)?;
        let balance = Balance::new(servers.len(), options.longest_wait);
        Ok(Self {
            shared: Arc::new(Shared {
                servers,
                balance,
                options,
            }),
        })
    }

    /// Scores a stream of records, in order and in bounded memory. A record is one conversation, two that are a pair, or
    /// more that are candidates, and `T` is whatever the caller wants back with its answer; an item without conversations
    /// has none.
    pub fn stream<T, I>(&self, items: I) -> RemoteStream<T, I::IntoIter>
    where
        I: IntoIterator<Item = (T, Vec<Conversation>)>,
    {
        self.stream_as(items, |_, conversations| request::line(conversations))
    }

    /// The same of entries, or what holds one, with their conversations: the answer to each is that to its record, whatever
    /// its layout.
    pub fn stream_entries<T, I>(&self, entries: I) -> RemoteStream<T, I::IntoIter>
    where
        T: AsRef<Entry>,
        I: IntoIterator<Item = (T, Vec<Conversation>)>,
    {
        self.stream_as(entries, |item, conversations| {
            request::line_of(item.as_ref(), conversations)
        })
    }

    fn stream_as<T, I>(
        &self,
        items: I,
        line: fn(&T, &[Conversation]) -> String,
    ) -> RemoteStream<T, I::IntoIter>
    where
        I: IntoIterator<Item = (T, Vec<Conversation>)>,
    {
        let workers = self.shared.options.requests.get() * self.shared.servers.len();
        let (requests, wanted) = channel();
        let (answered, replies) = channel();
        let wanted = Arc::new(Mutex::new(wanted));
        let spawn = |_| {
            let (shared, wanted) = (Arc::clone(&self.shared), Arc::clone(&wanted));
            let answered = answered.clone();
            let work = move || {
                loop {
                    // Only one waits with the lock, for a request that any of them may take.
                    let next = wanted.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, request)) = next else { return };
                    if answered.send((number, shared.answer(&request))).is_err() {
                        return;
                    }
                }
            };
            thread::Builder::new().name("remote".into()).spawn(work)
        };
        let spawned: Result<Vec<_>, _> = (0..workers).map(spawn).collect();
        let mut early = BTreeMap::new();
        let workers_started = spawned.unwrap_or_else(|error| {
            early.insert(0, Err(RemoteError::Thread(error.to_string())));
            Vec::new()
        });
        RemoteStream {
            items: items.into_iter(),
            line,
            most: self.shared.options.conversations.get(),
            requests: Some(requests),
            replies,
            under_way: VecDeque::new(),
            early,
            ready: VecDeque::new(),
            most_under_way: workers * 2,
            next: 0,
            workers: workers_started,
            ended: false,
        }
    }
}

impl<T, I: Iterator<Item = (T, Vec<Conversation>)>> RemoteStream<T, I> {
    /// Whether the next item can be had without waiting.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Reads a request's worth of records and hands it over; false when there is nothing left.
    fn send(&mut self) -> bool {
        let (mut items, mut lines) = (Vec::new(), Vec::new());
        let (mut conversations, mut bytes) = (0, 0);
        while conversations < self.most && bytes < REQUEST_BYTES {
            let Some((item, of_item)) = self.items.next() else {
                break;
            };
            if of_item.is_empty() {
                items.push((item, false));
                continue;
            }
            conversations += of_item.len();
            let line = (self.line)(&item, &of_item);
            bytes += line.len();
            lines.push(line);
            items.push((item, true));
        }
        if items.is_empty() {
            return false;
        }
        let number = self.next;
        self.next += 1;
        self.under_way.push_back((number, items));
        match &self.requests {
            Some(requests) if !lines.is_empty() => {
                // Without a worker there is an error before its turn.
                let _ = requests.send((number, Request(lines)));
            }
            _ => {
                self.early.entry(number).or_insert(Ok(Vec::new()));
            }
        }
        true
    }

    /// The answers to the oldest request.
    fn receive(&mut self, number: u64) -> Result<Vec<Answered>, RemoteError> {
        loop {
            if let Some(reply) = self.early.remove(&number) {
                return reply;
            }
            match self.replies.recv() {
                Ok((other, reply)) => {
                    self.early.insert(other, reply);
                }
                Err(_) => return Err(RemoteError::Thread("its threads have ended".into())),
            }
        }
    }
}

impl<T, I: Iterator<Item = (T, Vec<Conversation>)>> Iterator for RemoteStream<T, I> {
    /// `None` for an item without conversations.
    type Item = Result<(T, Option<Answered>), RemoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(Ok(ready));
            }
            if self.ended {
                return None;
            }
            while self.under_way.len() < self.most_under_way && self.send() {}
            let (number, items) = self.under_way.pop_front()?;
            let mut answers = match self.receive(number) {
                Ok(answers) => answers.into_iter(),
                Err(error) => {
                    self.ended = true;
                    self.requests = None;
                    return Some(Err(error));
                }
            };
            for (item, asked) in items {
                let answer = if asked { answers.next() } else { None };
                self.ready.push_back((item, answer));
            }
        }
    }
}

impl<T, I> Drop for RemoteStream<T, I> {
    /// Requests that are under way are finished by threads of their own, which nobody waits for.
    fn drop(&mut self) {
        self.requests = None;
        self.workers.clear();
    }
}

impl Shared {
    /// The answers to a request. One that is too large is sent in two parts.
    fn answer(&self, request: &Request) -> Result<Vec<Answered>, RemoteError> {
        let mut parts = vec![request.0.as_slice()];
        let mut all = Vec::with_capacity(request.0.len());
        while let Some(lines) = parts.pop() {
            match self.answer_part(lines)? {
                Some(answers) => all.extend(answers),
                None => {
                    let (first, second) = lines.split_at(lines.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(all)
    }

    /// `None` when the lines are too many for one request.
    fn answer_part(&self, lines: &[String]) -> Result<Option<Vec<Answered>>, RemoteError> {
        let mut body = lines.join("\n").into_bytes();
        body.push(b'\n');
        let mut tries = 0;
        loop {
            let server = match self.balance.take(Instant::now()) {
                Ok(server) => server,
                Err(rest) => {
                    thread::sleep(rest);
                    continue;
                }
            };
            tries += 1;
            let reply = self.servers.post(server, &body, lines.len());
            let came = match &reply {
                Reply::Later { wait, .. } => Came::Failure(*wait),
                _ => Came::Answer,
            };
            self.balance.give_back(server, came, Instant::now());
            let endpoint = || self.servers.name(server);
            match reply {
                Reply::Lines(text) => {
                    let answers = request::answers(&text, lines.len());
                    return answers.map(Some).map_err(|problem| RemoteError::Reply {
                        endpoint: endpoint(),
                        problem,
                    });
                }
                Reply::TooLarge(_) if lines.len() > 1 => return Ok(None),
                Reply::TooLarge(message) => {
                    return Err(RemoteError::Refused {
                        endpoint: endpoint(),
                        status: 413,
                        message,
                    });
                }
                Reply::Refused { status, message } => {
                    return Err(RemoteError::Refused {
                        endpoint: endpoint(),
                        status,
                        message,
                    });
                }
                Reply::Later { problem, .. } if tries > self.options.retries => {
                    return Err(RemoteError::NoAnswer {
                        endpoint: endpoint(),
                        tries,
                        problem,
                    });
                }
                Reply::Later { problem, .. } => {
                    tracing::warn!("{}: {problem}; the request is sent again", endpoint());
                }
            }
        }
    }
}
