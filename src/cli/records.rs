//! Records that are scored: from a file to conversations, and back to the records with what came of them.

use std::{
    fs::{self, File, Metadata},
    io::{self, BufRead, BufReader, IsTerminal, Read},
    os::fd::AsFd,
    path::Path,
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::{
    Conversation, Evaluation,
    records::{Body, RawConversation, Record, RecordError},
    text::ConversationError,
};

/// Where a record stands, whether it is one conversation or two, or what is wrong with it.
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) id: Option<Value>,
    kind: Result<Kind>,
}

#[derive(Clone, Copy)]
enum Kind {
    Single,
    Pair,
}

/// The conversations of a record.
pub(super) fn prepare(read: Result<(usize, Record), RecordError>) -> (Entry, Vec<Conversation>) {
    let (line, record) = match read {
        Ok(read) => read,
        Err(error) => {
            let entry = Entry {
                line: error.line,
                id: error.id.clone(),
                kind: Err(error.into()),
            };
            return (entry, Vec::new());
        }
    };
    let conversations = match record.body {
        Body::Single(one) => conversation(one)
            .map(|one| (Kind::Single, vec![one]))
            .map_err(Into::into),
        Body::Pair { chosen, rejected } => pair(chosen, rejected),
    };
    let (kind, conversations) = match conversations {
        Ok((kind, conversations)) => (Ok(kind), conversations),
        Err(error) => (Err(error), Vec::new()),
    };
    let entry = Entry {
        line,
        id: record.id,
        kind,
    };
    (entry, conversations)
}

fn conversation(raw: RawConversation) -> Result<Conversation, ConversationError> {
    let RawConversation { messages, tools } = raw;
    Conversation::from_value(json!({"messages": messages, "tools": tools}))
}

fn pair(chosen: RawConversation, rejected: RawConversation) -> Result<(Kind, Vec<Conversation>)> {
    let chosen = conversation(chosen).context("chosen")?;
    let rejected = conversation(rejected).context("rejected")?;
    Ok((Kind::Pair, vec![chosen, rejected]))
}

/// What the model says of a record.
pub(super) enum Answer {
    Single(Evaluation),
    /// Of the chosen conversation and of the rejected one.
    Pair(Evaluation, Evaluation),
}

impl Entry {
    /// Whether the record can be scored, as far as is known without its model.
    pub(super) fn check(&self) -> Result<()> {
        self.kind().map(drop)
    }

    fn kind(&self) -> Result<Kind> {
        match &self.kind {
            Ok(kind) => Ok(*kind),
            Err(error) => bail!("{error:#}"),
        }
    }

    /// What the model says of the record, from what it says of the record's conversations.
    pub(super) fn answer(&self, evaluations: Vec<crate::Result<Evaluation>>) -> Result<Answer> {
        let kind = self.kind()?;
        let mut evaluations = evaluations.into_iter();
        let mut next = || evaluations.next().context("no score was given");
        match kind {
            Kind::Single => Ok(Answer::Single(next()??)),
            Kind::Pair => {
                let chosen = next()?.context("chosen")?;
                let rejected = next()?.context("rejected")?;
                Ok(Answer::Pair(chosen, rejected))
            }
        }
    }

    /// Where the record stands, for errors.
    pub(super) fn place(&self, input: &Path) -> String {
        let input = if input == Path::new("-") {
            "standard input".into()
        } else {
            input.display().to_string()
        };
        match &self.kind {
            // A reading error says its line itself.
            Err(error) if error.is::<RecordError>() => input,
            _ => format!("{input}, line {}", self.line),
        }
    }
}

type Input = Box<dyn Read + Send>;

/// The input, and a progress bar over its bytes that shows on a terminal only.
pub(super) fn open_input(path: &Path) -> Result<(Input, Progress)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), Progress::new(None)));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let bytes = file
        .metadata()
        .ok()
        .filter(|m| m.is_file())
        .map(|m| m.len());
    Ok((Box::new(file), Progress::new(bytes)))
}

/// What the system says of the input.
pub(super) fn input_metadata(path: &Path) -> io::Result<Metadata> {
    if path == Path::new("-") {
        return File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata();
    }
    fs::metadata(path)
}

/// A progress bar over the bytes of the input.
#[derive(Clone)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    fn new(bytes: Option<u64>) -> Self {
        let bar = match bytes {
            Some(bytes) if io::stderr().is_terminal() => ProgressBar::new(bytes),
            None if io::stderr().is_terminal() && !io::stdin().is_terminal() => {
                ProgressBar::new_spinner()
            }
            _ => ProgressBar::hidden(),
        };
        let template = if bytes.is_some() {
            "{wide_bar} {bytes}/{total_bytes} read, {eta} left"
        } else {
            "{spinner} {bytes} read, {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn wrap_read(&self, input: Input) -> impl BufRead + use<> {
        BufReader::new(self.0.wrap_read(input))
    }

    /// Prints a line on standard error, beside the bar.
    pub(super) fn tell(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    pub(super) fn finish_and_clear(&self) {
        self.0.finish_and_clear();
    }

    pub(super) fn abandon(&self) {
        self.0.abandon();
    }
}
