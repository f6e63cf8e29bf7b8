//! `worldpm-ort verify --against`: how far two bundles are apart on the user's data.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use worldpm_ort_bundle::{Manifest, Pooling};

use super::drift_report;
use crate::{
    Bundle, Conversation, Scorer, ScorerOptions,
    cli::{
        common::{
            outcome::{Status, describe},
            placement::placement,
            records::{Entries, RecordArgs, open_input, place},
        },
        verify::VerifyArgs,
    },
    ep::Devices,
    records::{Entry, RecordReward},
    verify::drift::{Comparison, FirstPass, Numbers, Outcome, PromptKey, RecordName},
};

/// Records that could not be scored and are reported one by one; the others are counted.
const REPORTED: usize = 10;

/// A bundle to score with, and how.
struct Party {
    directory: PathBuf,
    options: ScorerOptions,
    reading: RecordArgs,
    /// Whether the records have been read before, with another bundle.
    is_second: bool,
}

pub(crate) fn run(args: &VerifyArgs, against: &Path, data: &Path) -> Result<Status> {
    let metadata = std::fs::metadata(data);
    let metadata = metadata.with_context(|| format!("cannot open {}", data.display()))?;
    if !metadata.is_file() {
        bail!(
            "{} is not a regular file; the records are read once for each bundle, so put them in one",
            data.display()
        );
    }
    let bundles = [
        Bundle::open(&args.model, args.scorer.weights_dir.as_deref())?,
        Bundle::open(against, args.against_weights_dir.as_deref())?,
    ];
    let manifests = bundles.each_ref().map(Bundle::manifest);
    let labels = labels(manifests)?;
    if args.reduce.is_none() && manifests.into_iter().any(scores_steps) {
        bail!(
            "the model scores the steps of an answer, and answers are compared by one score: say with \
             --reduce what makes one of them"
        );
    }
    let text_differences = text_differences(manifests);
    for difference in &text_differences {
        alert!("warning: the bundles read conversations in different ways: {difference}");
    }
    if manifests[0].model != manifests[1].model {
        alert!("warning: the bundles are of different models (architecture or dimensions)");
    }
    let [first, second] = parties(args, against, manifests);

    let mut kept = FirstPass::default();
    let first_failures = score(&first, data, args.keep_going, |_, _, outcome| {
        kept.push(outcome);
        Ok(())
    })?;
    let mut comparison = Comparison::new(kept, labels);
    let second_failures = score(&second, data, args.keep_going, |entry, prompt, outcome| {
        let name = RecordName {
            line: entry.line,
            id: entry.id.clone(),
        };
        Ok(comparison.push(name, prompt, outcome)?)
    })?;
    let report = comparison.finish()?;

    let mut output = io::stdout().lock();
    if args.json {
        let value = drift_report::to_json(&report, [&args.model, against], &text_differences);
        writeln!(output, "{value}")?;
    } else {
        drift_report::print(&mut output, &report, [&args.model, against])?;
    }
    output.flush()?;
    Ok(if first_failures + second_failures > 0 {
        Status::SomeFailed
    } else {
        Status::Done
    })
}

/// The bundles with the options of each. Both get the same length limit, so that both see the same text.
fn parties(args: &VerifyArgs, against: &Path, manifests: [&Manifest; 2]) -> [Party; 2] {
    let limit = manifests[0].max_length.min(manifests[1].max_length);
    let mut options = args.scorer.options();
    options.max_length = Some(args.max_length.map_or(limit, |given| given.min(limit)));
    if let Some(way) = args.truncation {
        options.truncation = way.into();
    }
    options.reduce = args.reduce.map(Into::into);
    options.allow_no_answer = args.records.allow_no_answer;
    let mut other = options.clone();
    other.weights_dir.clone_from(&args.against_weights_dir);
    if manifests[0].device != manifests[1].device {
        other.devices = Devices::Auto;
    }
    [
        Party {
            directory: args.model.clone(),
            options,
            reading: args.records.clone(),
            is_second: false,
        },
        Party {
            directory: against.to_owned(),
            options: other,
            reading: args.records.clone(),
            is_second: true,
        },
    ]
}

fn scores_steps(manifest: &Manifest) -> bool {
    matches!(manifest.pooling, Pooling::EachToken { .. })
}

/// What the numbers of both models are called.
fn labels(manifests: [&Manifest; 2]) -> Result<Vec<String>> {
    let [labels, others] = manifests.map(|manifest| match manifest.model.labels.as_slice() {
        _ if scores_steps(manifest) => vec!["score of steps".to_owned()],
        [_] => vec!["score".to_owned()],
        several => several.to_vec(),
    });
    if labels != others {
        bail!(
            "the bundles give different numbers ({} and {}), which cannot be compared",
            labels.join(", "),
            others.join(", ")
        );
    }
    Ok(labels)
}

/// In which ways two bundles make other tokens of a conversation, or score another one of them.
fn text_differences([one, other]: [&Manifest; 2]) -> Vec<String> {
    let mut differences = Vec::new();
    let names = one.text.files.iter().chain(&other.text.files);
    let mut names: Vec<&str> = names.map(|file| file.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let hash = |manifest: &Manifest| {
            let mut files = manifest.text.files.iter();
            let found = files.find(|file| file.name == name);
            found.map(|file| file.sha256.clone())
        };
        if hash(one) != hash(other) {
            differences.push(format!("{name} differs"));
        }
    }
    if one.text.system_marker != other.text.system_marker {
        differences.push("one puts an empty system message in front".to_owned());
    }
    if one.pooling != other.pooling {
        differences.push("they score another token (pooling)".to_owned());
    }
    if one.end_token != other.end_token {
        differences.push("conversations end with another token".to_owned());
    }
    differences
}

/// Scores the data with one bundle, which is gone from memory afterwards. Returns how many records failed.
fn score(
    party: &Party,
    data: &Path,
    keep_going: bool,
    mut take: impl FnMut(&Entry, Option<PromptKey>, &Outcome) -> Result<()>,
) -> Result<usize> {
    let loading = Instant::now();
    let model = party.directory.display();
    let (input, progress) = open_input(data)?;
    let mut entries = Entries::new(progress.wrap_read(input), &party.reading, &progress)?;
    if party.is_second {
        entries = entries.quiet();
    } else {
        // Whether there are records in it at all; the others have their turn.
        entries.look_at_first(data, keep_going)?;
    }
    let scorer = Scorer::open(&party.directory, &party.options)?;
    report!(
        "{model}: {} {}, loaded in {:.1} s",
        scorer.manifest().model.architecture,
        placement(&scorer),
        loading.elapsed().as_secs_f64()
    );
    let scoring = Instant::now();
    let mut conversations = 0_usize;
    let mut failures = 0_usize;
    for ((entry, prompt), rewards) in scorer.stream(entries.map(with_prompt)) {
        conversations += rewards.len();
        let reward = entry.reward(rewards).map_err(Into::into);
        let outcome = reward.and_then(|reward| outcome(&reward));
        let outcome = outcome.or_else(|problem| {
            failures += 1;
            let place = place(&entry, data);
            if !keep_going {
                progress.abandon();
                bail!("{model}: {place}: {}", describe(&problem));
            }
            if failures <= REPORTED {
                report!("{model}: {place}: {}", describe(&problem));
            }
            Ok(Outcome::Failed)
        })?;
        take(&entry, prompt, &outcome)?;
    }
    progress.finish_and_clear();
    if failures > REPORTED {
        report!("{model}: {failures} records could not be scored; the first {REPORTED} are above");
    }
    report!(
        "{model}: {conversations} conversations in {:.1} s",
        scoring.elapsed().as_secs_f64()
    );
    Ok(failures)
}

type Prepared = ((Entry, Option<PromptKey>), Vec<Conversation>);

fn with_prompt((entry, conversations): (Entry, Vec<Conversation>)) -> Prepared {
    let prompt = match conversations.as_slice() {
        [single] => PromptKey::of(single),
        _ => None,
    };
    ((entry, prompt), conversations)
}

fn outcome(reward: &RecordReward) -> Result<Outcome> {
    Ok(match reward {
        RecordReward::Single(one) => Outcome::Single(Numbers::of(one)?),
        RecordReward::Pair { chosen, rejected } => {
            let chosen = Numbers::of(chosen).context("chosen")?;
            let rejected = Numbers::of(rejected).context("rejected")?;
            Outcome::Pair(chosen, rejected)
        }
        RecordReward::Candidates(_) => bail!(
            "it has several candidates, and conversations and pairs are compared: give each as a record of its own"
        ),
    })
}
