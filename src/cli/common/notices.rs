//! What is printed on standard error: by the commands, and by the library while it works.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Prints a line on standard error, as `eprintln!` does, unless `--quiet` is given. Where that is closed or full, the line is
/// lost and nothing else.
macro_rules! report {
    ($($part:tt)*) => {
        $crate::cli::common::notices::report(format_args!($($part)*))
    };
}

/// The same of what is wrong, or may be: it is printed in any case.
macro_rules! alert {
    ($($part:tt)*) => {
        $crate::cli::common::notices::alert(format_args!($($part)*))
    };
}

/// How much is printed.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Verbosity {
    /// Print on standard error only what is wrong: no progress, no notes, no summary
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print also what the model does: each run of a stage, each loading, with its time
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

/// What [`Verbosity`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loudness {
    Quiet,
    Usual,
    Verbose,
}

static LOUDNESS: AtomicU8 = AtomicU8::new(Loudness::Usual as u8);

impl Verbosity {
    /// From here on, this much is printed.
    pub(crate) fn apply(self) {
        let loudness = match self {
            Self { quiet: true, .. } => Loudness::Quiet,
            Self { verbose: true, .. } => Loudness::Verbose,
            _ => Loudness::Usual,
        };
        LOUDNESS.store(loudness as u8, Relaxed);
    }
}

pub(crate) fn loudness() -> Loudness {
    let set = LOUDNESS.load(Relaxed);
    let all = [Loudness::Quiet, Loudness::Verbose];
    let found = all.into_iter().find(|one| *one as u8 == set);
    found.unwrap_or(Loudness::Usual)
}

pub(crate) fn is_quiet() -> bool {
    loudness() == Loudness::Quiet
}

pub(crate) fn report(line: fmt::Arguments<'_>) {
    if !is_quiet() {
        alert(line);
    }
}

pub(crate) fn alert(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints events of this crate that are meant for users, and its spans where someone asked for them.
#[derive(Default)]
struct Notices {
    spans: Mutex<BTreeMap<u64, Span>>,
    next: AtomicU64,
}

/// A span that is open.
struct Span {
    name: String,
    begun: Instant,
    handles: usize,
}

/// From here on, what the library logs is shown.
pub(crate) fn show() {
    // A program that has a subscriber of its own keeps it.
    let _ = tracing::subscriber::set_global_default(Notices::default());
}

impl Notices {
    fn spans(&self) -> MutexGuard<'_, BTreeMap<u64, Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Notices {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let most = match (loudness(), metadata.is_event()) {
            (Loudness::Verbose, _) => Level::DEBUG,
            (Loudness::Usual, true) => Level::INFO,
            (Loudness::Quiet, true) => Level::WARN,
            (_, false) => return false,
        };
        *metadata.level() <= most && metadata.target().starts_with("worldpm_ort")
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message::default();
        event.record(&mut message);
        alert!("{}", message.0);
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields(attributes.metadata().name().to_owned());
        attributes.record(&mut fields);
        // No number is 0.
        let id = self.next.fetch_add(1, Relaxed) + 1;
        let span = Span {
            name: fields.0,
            begun: Instant::now(),
            handles: 1,
        };
        self.spans().insert(id, span);
        span::Id::from_u64(id)
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        if let Some(span) = self.spans().get_mut(&id.into_u64()) {
            span.handles += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: span::Id) -> bool {
        let mut spans = self.spans();
        let Some(span) = spans.get_mut(&id.into_u64()) else {
            return false;
        };
        span.handles -= 1;
        if span.handles > 0 {
            return false;
        }
        let closed = spans.remove(&id.into_u64());
        drop(spans);
        if let Some(span) = closed {
            let milliseconds = span.begun.elapsed().as_secs_f64() * 1e3;
            alert!("{}: {milliseconds:.1} ms", span.name);
        }
        true
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A span's name and fields, as in `stage stage=0 tokens=512`.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = write!(self.0, " {field}={value:?}");
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}
