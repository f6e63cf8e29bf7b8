//! What is printed on standard error: by the commands, and by the library while it works.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Prints a line on standard error, as `eprintln!` does. Where that is closed or full, the line is lost and nothing else.
macro_rules! report {
    ($($part:tt)*) => {
        $crate::cli::common::notices::report(format_args!($($part)*))
    };
}

pub(crate) fn report(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints events of this crate that are meant for users. Spans are left alone.
struct Notices;

/// From here on, what the library logs is shown.
pub(crate) fn show() {
    // A program that has a subscriber of its own keeps it.
    let _ = tracing::subscriber::set_global_default(Notices);
}

impl Subscriber for Notices {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= Level::INFO
            && metadata.target().starts_with("worldpm_ort")
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message::default();
        event.record(&mut message);
        report!("{}", message.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        // No span is enabled, so that none asks; the number only must not be 0.
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
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
