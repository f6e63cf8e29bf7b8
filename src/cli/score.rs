//! `worldpm-ort score`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write},
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    Status,
    args::{ReduceWay, ScoreArgs, TruncationWay},
};
use crate::{
    Conversation, Evaluation, Output, Reduction, Scorer, ScorerOptions, Truncation,
    ep::Devices,
    records::{Body, RawConversation, Record, RecordError, RecordReader},
    text::ConversationError,
};

pub(super) fn run(args: &ScoreArgs) -> Result<Status> {
    let (input, progress) = open_input(&args.input)?;
    check_output(&args.output)?;

    let loading = Instant::now();
    let scorer = Scorer::open(&args.model, &options(args))?;
    eprintln!(
        "{} {}, loaded in {:.1} s",
        scorer.manifest().model.architecture,
        placement(&scorer, &args.scorer.device),
        loading.elapsed().as_secs_f64()
    );

    let mut output = open_output(&args.output)?;
    let scoring = Instant::now();
    let records = RecordReader::new(progress.wrap_read(input));
    let mut failures = 0_usize;
    let mut conversations = 0_usize;
    let mut stream = scorer.stream(records.map(prepare));
    for (entry, evaluations) in stream.by_ref() {
        conversations += evaluations.len();
        let line = entry.result(evaluations);
        if let Err(problem) = &line {
            failures += 1;
            if !args.keep_going {
                output.flush()?;
                progress.abandon();
                bail!("{}: {problem:#}", entry.place(&args.input));
            }
        }
        write_line(&mut output, &entry, line)?;
    }
    output.flush()?;
    progress.finish_and_clear();

    let seconds = scoring.elapsed().as_secs_f64();
    let stats = stream.stats();
    eprintln!(
        "{conversations} conversations in {seconds:.1} s: {} tokens, {} of them computed",
        stats.tokens, stats.unique_tokens
    );
    if failures > 0 {
        eprintln!("{failures} records could not be scored; their lines in the output say why");
        return Ok(Status::SomeFailed);
    }
    Ok(Status::Done)
}

fn options(args: &ScoreArgs) -> ScorerOptions {
    let mut options = args
        .scorer
        .options()
        .with_truncation(match args.truncation {
            TruncationWay::Refuse => Truncation::Refuse,
            TruncationWay::OldestTurns => Truncation::OldestTurns,
            TruncationWay::LongestMessageMiddle => Truncation::LongestMessageMiddle,
        });
    options.reduce = args.reduce.map(|way| match way {
        ReduceWay::Min => Reduction::Min,
        ReduceWay::Product => Reduction::Product,
        ReduceWay::Last => Reduction::Last,
    });
    options.max_length = args.max_length;
    options
}

/// The devices of the stages, each named once, and why they were taken.
pub(super) fn placement(scorer: &Scorer, asked: &Devices) -> String {
    let mut names: Vec<String> = scorer.providers().iter().map(ToString::to_string).collect();
    let stages = match names.len() {
        1 => "one stage".to_owned(),
        stages => format!("{stages} stages"),
    };
    names.dedup();
    let reason = match asked {
        Devices::Auto => ", for which the bundle was exported",
        Devices::List(_) => "",
    };
    format!("on {}{reason}, {stages}", names.join(", "))
}

/// Where a record stands, whether it is one conversation or two, or what is wrong with it.
struct Entry {
    line: usize,
    id: Option<Value>,
    kind: Result<Kind>,
}

#[derive(Clone, Copy)]
enum Kind {
    Single,
    Pair,
}

fn prepare(read: Result<(usize, Record), RecordError>) -> (Entry, Vec<Conversation>) {
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

impl Entry {
    /// The fields of the output line.
    fn result(&self, evaluations: Vec<crate::Result<Evaluation>>) -> Result<Value> {
        let kind = match &self.kind {
            Ok(kind) => *kind,
            Err(error) => bail!("{error:#}"),
        };
        let mut evaluations = evaluations.into_iter();
        let mut next = || evaluations.next().context("no score was given");
        match kind {
            Kind::Single => Ok(fields(&next()??)),
            Kind::Pair => {
                let chosen = next()?.context("chosen")?;
                let rejected = next()?.context("rejected")?;
                Ok(pair_fields(&chosen, &rejected))
            }
        }
    }

    fn place(&self, input: &Path) -> String {
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

/// What is written of a conversation: `score`, `scores` by label, or `steps`, with a `score` where one is
/// made of them.
fn fields(evaluation: &Evaluation) -> Value {
    let mut fields = match &evaluation.output {
        Output::Score(score) => json!({"score": score}),
        Output::Labels(labels) => json!({"scores": by_label(labels.iter())}),
        Output::Steps(steps) => match steps.score() {
            Some(score) => json!({"score": score, "steps": steps.rewards()}),
            None => json!({"steps": steps.rewards()}),
        },
    };
    fields["tokens"] = evaluation.tokens.into();
    if evaluation.truncated {
        fields["truncated"] = true.into();
    }
    fields
}

/// What is written of a pair. A model with several labels has a margin for each of them, one that scores
/// steps has a margin where a score is made of them. Neither has a probability: these models are not
/// trained on which answer was preferred.
fn pair_fields(chosen: &Evaluation, rejected: &Evaluation) -> Value {
    let mut pair = json!({"chosen": fields(chosen), "rejected": fields(rejected)});
    match (&chosen.output, &rejected.output) {
        (Output::Score(chosen), Output::Score(rejected)) => {
            let margin = chosen - rejected;
            pair["margin"] = json!(margin);
            pair["probability"] = json!(sigmoid(margin));
        }
        (Output::Labels(chosen), Output::Labels(rejected)) => {
            let both = chosen.iter().zip(rejected.values());
            pair["margins"] = by_label(both.map(|((label, c), r)| (label, c - r)));
        }
        (Output::Steps(chosen), Output::Steps(rejected)) => {
            if let (Some(chosen), Some(rejected)) = (chosen.score(), rejected.score()) {
                pair["margin"] = json!(chosen - rejected);
            }
        }
        _ => {}
    }
    pair
}

fn by_label<'a>(values: impl Iterator<Item = (&'a str, f32)>) -> Value {
    let entries = values.map(|(label, value)| (label.to_owned(), json!(value)));
    Value::Object(entries.collect())
}

/// The Bradley-Terry probability that the chosen answer is the better one.
fn sigmoid(margin: f32) -> f32 {
    1.0 / (1.0 + (-margin).exp())
}

fn write_line(output: &mut dyn Write, entry: &Entry, fields: Result<Value>) -> Result<()> {
    let mut line = serde_json::Map::new();
    if let Some(id) = &entry.id {
        line.insert("id".into(), id.clone());
    }
    match fields {
        Ok(Value::Object(fields)) => line.extend(fields),
        Ok(_) => {}
        Err(problem) => {
            line.insert("line".into(), entry.line.into());
            line.insert("error".into(), format!("{problem:#}").into());
        }
    }
    serde_json::to_writer(&mut *output, &line).map_err(io::Error::from)?;
    output.write_all(b"\n")?;
    Ok(())
}

type Input = Box<dyn Read + Send>;

/// The input, and a progress bar over its bytes that shows on a terminal only.
fn open_input(path: &Path) -> Result<(Input, Progress)> {
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

/// Finds out before the model is loaded whether the output can be written. What the file holds stays until
/// there is something to put in its place.
fn check_output(path: &Path) -> Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let opened = if path == Path::new("-") {
        Ok(())
    } else if path.exists() {
        OpenOptions::new().append(true).open(path).map(drop)
    } else {
        fs::read_dir(parent.unwrap_or(Path::new("."))).map(drop)
    };
    opened.with_context(|| format!("cannot write {}", path.display()))
}

fn open_output(path: &Path) -> Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

struct Progress(ProgressBar);

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

    fn wrap_read(&self, input: Input) -> impl BufRead + use<> {
        BufReader::new(self.0.wrap_read(input))
    }

    fn finish_and_clear(&self) {
        self.0.finish_and_clear();
    }

    fn abandon(&self) {
        self.0.abandon();
    }
}
