//! `worldpm-ort score`.

use std::{
    cell::Cell,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Status,
    args::ScoreArgs,
    describe,
    interrupt::Interrupt,
    model,
    output::Results,
    records::{Answer, Entries, Entry, input_metadata, open_input},
};
use crate::{Evaluation, MatmulPrecision, Output, Scorer, ScorerOptions, ep::Provider, json::Json};

/// Records of a file that are looked at before the model is loaded.
const LOOKED_AT: usize = 256;

pub(super) fn run(args: &ScoreArgs) -> Result<Status> {
    model::check(&args.model)?;
    let (input, progress) = open_input(&args.input)?;
    check_apart(&args.input, &args.output)?;
    let mut output = Results::prepare(&args.output, args.append)?;
    let mut entries = Entries::new(progress.wrap_read(input), &args.records, &progress);
    if is_file(&args.input) {
        entries.look_at_first(LOOKED_AT, &args.input, args.keep_going)?;
    }

    let loading = Instant::now();
    let scorer = Scorer::open(&args.model, &options(args))?;
    tell!("{}", loaded(&scorer, loading.elapsed()));
    args.scorer.report_unused(&scorer);

    output.open()?;
    let scoring = Instant::now();
    let mut failures = 0_usize;
    let mut conversations = 0_usize;
    let mut lines = 0_usize;
    let interrupt = Interrupt::watch({
        let progress = progress.clone();
        move || progress.tell(FINISHING)
    })?;
    let (mut refused, stopped) = (false, Cell::new(false));
    let wanted = std::iter::from_fn(|| {
        stopped.set(!refused && interrupt.asked());
        if refused || stopped.get() {
            return None;
        }
        let (entry, conversations) = entries.next()?;
        // What comes after it would be scored for nothing.
        refused = !args.keep_going && entry.check().is_err();
        Some((entry, conversations))
    });
    let mut stream = scorer.stream(wanted);
    while let Some((entry, evaluations)) = stream.next() {
        conversations += evaluations.len();
        let line = entry
            .answer(evaluations)
            .map(|answer| answer_fields(&answer));
        if let Err(problem) = &line {
            failures += 1;
            if !args.keep_going || ends_all(problem) {
                progress.abandon();
                let left = match output.leave()? {
                    Some(left) => format!("; the results before it are in {}", left.display()),
                    None => String::new(),
                };
                bail!("{}: {}{left}", entry.place(&args.input), describe(problem));
            }
        }
        output.write_line(&line_of(&entry, line)?)?;
        lines += 1;
        if !stream.is_ready() {
            // What comes next may take long.
            output.flush()?;
        }
    }
    output.flush()?;
    progress.finish_and_clear();

    let seconds = scoring.elapsed().as_secs_f64();
    let stats = *stream.stats();
    drop(stream);
    tell!(
        "{conversations} conversations in {seconds:.1} s: {} tokens, {} of them computed",
        stats.tokens,
        stats.unique_tokens
    );
    if scorer.is_streamed() {
        let stages = scorer.counters().stages;
        let loads: u64 = stages.iter().map(|stage| stage.loads).sum();
        let loading: Duration = stages.iter().map(|stage| stage.loading).sum();
        let busy: Duration = stages.iter().map(|stage| stage.busy).sum();
        tell!(
            "{loads} loads of stages took {:.1} s, computing {:.1} s",
            loading.as_secs_f64(),
            busy.as_secs_f64()
        );
    }
    // Where the end of the input had not been seen, there may be nothing left all the same.
    let mut complete = || is_file(&args.input) && entries.next().is_none();
    if stopped.get() && !complete() {
        match output.leave()? {
            Some(left) => tell!(
                "interrupted: {} has the first {lines} records, and {} is as it was",
                left.display(),
                args.output.display()
            ),
            None => tell!("interrupted: the output has the first {lines} records"),
        }
        return Ok(Status::Interrupted);
    }
    output.finish()?;
    if failures > 0 {
        tell!("{failures} records could not be scored; their lines in the output say why");
        return Ok(Status::SomeFailed);
    }
    Ok(Status::Done)
}

/// What is told of the first signal.
const FINISHING: &str =
    "interrupted: what is under way is finished and written; a second signal stops at once";

fn options(args: &ScoreArgs) -> ScorerOptions {
    let mut options = args
        .scorer
        .options()
        .with_truncation(args.truncation.into());
    options.reduce = args.reduce.map(Into::into);
    options.max_length = args.max_length;
    options.allow_no_answer = args.records.allow_no_answer;
    options
}

/// Whether no record after this one can be scored either.
fn ends_all(problem: &anyhow::Error) -> bool {
    problem.chain().any(|cause| {
        matches!(
            cause.downcast_ref(),
            Some(crate::Error::WeightsChanged { .. })
        )
    })
}

/// What was loaded, where, why there, and in what time.
pub(super) fn loaded(scorer: &Scorer, time: Duration) -> String {
    let done = match scorer.is_streamed() {
        true => "opened",
        false => "loaded",
    };
    format!(
        "{} {}, {done} in {:.1} s",
        scorer.manifest().model.architecture,
        placement(scorer),
        time.as_secs_f64()
    )
}

/// The devices of the stages, each named once for every copy of the model, and why they were taken.
pub(super) fn placement(scorer: &Scorer) -> String {
    let copies = scorer.providers();
    let names = |copy: &Vec<Provider>| {
        let mut names: Vec<String> = copy.iter().map(ToString::to_string).collect();
        names.dedup();
        names.join(", ")
    };
    let devices: Vec<String> = copies.iter().map(names).collect();
    let stages = match copies.first().map_or(0, Vec::len) {
        1 => "one stage".to_owned(),
        stages => format!("{stages} stages"),
    };
    let copies = match copies.len() {
        1 => String::new(),
        copies => format!(", {copies} copies"),
    };
    let reason = scorer
        .placement_reason()
        .map_or(String::new(), |reason| format!(", {reason}"));
    let (residency, why) = match scorer.is_streamed() {
        true => (", streamed", scorer.residency_reason()),
        false => ("", scorer.residency_reason()),
    };
    let precision = match scorer.matmul_precision() {
        MatmulPrecision::Highest => String::new(),
        precision => format!(", {precision} precision of products"),
    };
    format!(
        "on {}{reason}{copies}, {stages}{residency} ({why}){precision}",
        devices.join(" | ")
    )
}

/// The fields of a record's line.
fn answer_fields(answer: &Answer) -> Value {
    match answer {
        Answer::Single(evaluation) => fields(evaluation),
        Answer::Pair(chosen, rejected) => pair_fields(chosen, rejected),
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

/// A line of the output: the id as it was given, then what came of the record.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Json>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

fn line_of(entry: &Entry, fields: Result<Value>) -> Result<Vec<u8>> {
    let fields =
        fields.unwrap_or_else(|problem| json!({"line": entry.line, "error": describe(&problem)}));
    let line = Line {
        id: entry.id.as_ref(),
        fields: fields.as_object().cloned().unwrap_or_default(),
    };
    Ok(serde_json::to_vec(&line)?)
}

/// The output takes the place of what was there, which must not be what is read.
fn check_apart(input: &Path, output: &Path) -> Result<()> {
    if output == Path::new("-") {
        return Ok(());
    }
    let (Ok(from), Ok(to)) = (input_metadata(input), fs::metadata(output)) else {
        return Ok(());
    };
    if from.is_file() && (from.dev(), from.ino()) == (to.dev(), to.ino()) {
        bail!(
            "cannot write {}: it is the input, which would be lost; name another file",
            output.display()
        );
    }
    Ok(())
}

/// Whether reading the input never waits for someone to write it.
fn is_file(input: &Path) -> bool {
    input_metadata(input).is_ok_and(|input| input.is_file())
}
