//! Records that are scored: from a file to conversations, and back to the records with what came of them.

use std::{
    collections::VecDeque,
    fs::{self, File, Metadata},
    io::{self, BufRead, BufReader, IsTerminal, Read},
    os::fd::AsFd,
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use worldpm_ort_bundle::Bytes;

use super::describe;
use crate::{
    Conversation, Evaluation,
    json::Json,
    records::{Body, DEFAULT_MAX_RECORD_BYTES, RawConversation, Record, RecordError, RecordReader},
    text::ConversationError,
};

/// Bytes of text after which no more records are looked at before the model is loaded.
const LOOKED_AT_BYTES: usize = 4 << 20;

/// How records are read, by every command that reads them.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RecordArgs {
    /// Also score conversations that do not end with an assistant's message, which has no answer to judge
    #[arg(long)]
    pub(super) allow_no_answer: bool,
    /// The longest record that is read, as in 64MiB
    #[arg(long, value_name = "SIZE", default_value_t = Bytes(DEFAULT_MAX_RECORD_BYTES as u64))]
    pub(super) max_record_bytes: Bytes,
}

/// The records of an input, one after another.
pub(super) struct Entries<R> {
    records: RecordReader<R>,
    options: RecordArgs,
    /// Those that have been looked at already.
    ahead: VecDeque<(Entry, Vec<Conversation>)>,
    progress: Progress,
    told_unused: bool,
}

impl<R: BufRead> Entries<R> {
    pub(super) fn new(input: R, options: &RecordArgs, progress: &Progress) -> Self {
        let limit = usize::try_from(options.max_record_bytes.0).unwrap_or(usize::MAX);
        Self {
            records: RecordReader::new(input).with_max_record_bytes(limit),
            options: options.clone(),
            ahead: VecDeque::new(),
            progress: progress.clone(),
            told_unused: false,
        }
    }

    /// Leaves it to others to name the columns that are not used.
    pub(super) fn quiet(mut self) -> Self {
        self.told_unused = true;
        self
    }

    /// Reads the first records, `most` of them, to find out what is wrong with them before a model is loaded.
    pub(super) fn look_at_first(
        &mut self,
        most: usize,
        input: &Path,
        keep_going: bool,
    ) -> Result<()> {
        let mut bytes = 0;
        while self.ahead.len() < most && bytes < LOOKED_AT_BYTES {
            let Some((entry, conversations)) = self.read() else {
                break;
            };
            if !keep_going && let Err(problem) = entry.check() {
                self.progress.abandon();
                bail!("{}: {}", entry.place(input), describe(&problem));
            }
            let messages = conversations.iter().flat_map(|one| &one.messages);
            bytes += messages
                .map(|message| message.content().map_or(0, str::len))
                .sum::<usize>();
            self.ahead.push_back((entry, conversations));
        }
        Ok(())
    }

    fn read(&mut self) -> Option<(Entry, Vec<Conversation>)> {
        let read = self.records.next()?;
        if !self.told_unused
            && let Ok((_, record)) = &read
            && !record.unused.is_empty()
        {
            self.told_unused = true;
            let names = record.unused.join(", ");
            self.progress.tell(&format!(
                "note: these fields of records are not used: {names}"
            ));
        }
        Some(prepare(read, self.options.allow_no_answer))
    }
}

impl<R: BufRead> Iterator for Entries<R> {
    type Item = (Entry, Vec<Conversation>);

    fn next(&mut self) -> Option<Self::Item> {
        let ahead = self.ahead.pop_front();
        ahead.or_else(|| self.read())
    }
}

/// Where a record stands, whether it is one conversation or two, or what is wrong with it.
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) id: Option<Json>,
    kind: Result<Kind>,
}

#[derive(Clone, Copy)]
enum Kind {
    Single,
    Pair,
}

/// The conversations of a record.
fn prepare(
    read: Result<(usize, Record), RecordError>,
    allow_no_answer: bool,
) -> (Entry, Vec<Conversation>) {
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
    let conversation = |raw| conversation(raw, allow_no_answer);
    let conversations = match record.body {
        Body::Single(one) => conversation(one)
            .map(|one| (Kind::Single, vec![one]))
            .map_err(Into::into),
        Body::Pair { chosen, rejected } => {
            let chosen = conversation(chosen).context("chosen");
            let rejected = conversation(rejected).context("rejected");
            chosen.and_then(|chosen| Ok((Kind::Pair, vec![chosen, rejected?])))
        }
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

fn conversation(
    raw: RawConversation,
    allow_no_answer: bool,
) -> Result<Conversation, ConversationError> {
    let conversation = raw.into_conversation()?;
    if !allow_no_answer {
        conversation.check_answer()?;
    }
    Ok(conversation)
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
            Err(error) => Err(anyhow!(describe(error))),
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
    if path.is_dir() {
        bail!(
            "{} is a directory: name a file of records in it, JSON Lines or a JSON array",
            path.display()
        );
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
        self.0.suspend(|| tell!("{line}"));
    }

    pub(super) fn finish_and_clear(&self) {
        self.0.finish_and_clear();
    }

    pub(super) fn abandon(&self) {
        self.0.abandon();
    }
}
