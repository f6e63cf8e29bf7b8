//! Brings the numbers of two bundles together.

use std::collections::HashMap;

use super::{GroupDrift, Numbers, Outcome, PairDrift, PromptKey, RecordName, ScoreDrift, Side};

/// What the first bundle gives, record by record.
#[derive(Clone, Debug, Default)]
pub struct FirstPass {
    records: Vec<Shape>,
    /// The values of every conversation, one after another.
    values: Vec<f32>,
    tokens: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Failed,
    Single,
    Pair,
}

impl Shape {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Failed => Self::Failed,
            Outcome::Single(_) => Self::Single,
            Outcome::Pair(..) => Self::Pair,
        }
    }

    fn conversations(self) -> usize {
        match self {
            Self::Failed => 0,
            Self::Single => 1,
            Self::Pair => 2,
        }
    }
}

impl FirstPass {
    /// Takes the next record.
    pub fn push(&mut self, outcome: &Outcome) {
        self.records.push(Shape::of(outcome));
        let mut take = |numbers: &Numbers| {
            self.values.extend_from_slice(&numbers.values);
            self.tokens.push(tokens(numbers));
        };
        match outcome {
            Outcome::Failed => {}
            Outcome::Single(one) => take(one),
            Outcome::Pair(chosen, rejected) => {
                take(chosen);
                take(rejected);
            }
        }
    }

    /// Records so far.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records.len()
    }
}

/// The second reading of the data gave other records than the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the data has changed while it was read: record {record} is not what it was with the first bundle; \
     run it again, on a file that stays as it is"
)]
pub struct DataChanged {
    /// The record, counted from 1.
    pub record: usize,
}

/// Compares what the second bundle gives with the first, record by record.
#[derive(Clone, Debug)]
pub struct Comparison {
    first: FirstPass,
    labels: Vec<String>,
    /// Records of the second pass so far.
    seen: usize,
    /// Conversations of the first pass that belong to them.
    passed: usize,
    /// The records that both bundles score.
    compared: Vec<Compared>,
    values: [Vec<f32>; 2],
    failed: [usize; 2],
    other_tokens: usize,
}

#[derive(Clone, Debug)]
struct Compared {
    name: RecordName,
    /// Its first conversation, among those that are compared.
    conversation: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Single(Option<PromptKey>),
    Pair,
}

/// How far the scores of two bundles are apart.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DriftReport {
    /// Records of the data.
    pub records: usize,
    /// Records that the first bundle and the second could not score; one that both could not counts in
    /// both.
    pub failed: [usize; 2],
    /// Records that were compared.
    pub compared: usize,
    /// Their conversations.
    pub conversations: usize,
    /// Conversations that have another number of tokens with the other bundle.
    pub other_tokens: usize,
    /// The drift of each number that the model gives: one score, or one for each label.
    pub labels: Vec<LabelDrift>,
}

/// The drift of one of the numbers that a model gives.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LabelDrift {
    /// What the number is called: `score`, or the label.
    pub label: String,
    /// All scores; `None` when none was compared.
    pub scores: Option<ScoreDrift>,
    /// Margins of pairs; `None` without pairs.
    pub pairs: Option<PairDrift>,
    /// Answers to the same prompt; `None` when no prompt has two.
    pub groups: Option<GroupDrift>,
}

impl Comparison {
    /// Begins. `labels` names the numbers that both bundles give for a conversation.
    #[must_use]
    pub fn new(first: FirstPass, labels: Vec<String>) -> Self {
        Self {
            first,
            labels,
            seen: 0,
            passed: 0,
            compared: Vec::new(),
            values: [Vec::new(), Vec::new()],
            failed: [0, 0],
            other_tokens: 0,
        }
    }

    /// Takes the next record. `prompt` is that of a single conversation.
    ///
    /// # Errors
    /// [`DataChanged`] when this is not the record that the first pass had here.
    pub fn push(
        &mut self,
        name: RecordName,
        prompt: Option<PromptKey>,
        outcome: &Outcome,
    ) -> Result<(), DataChanged> {
        let changed = DataChanged {
            record: self.seen + 1,
        };
        let was = *self.first.records.get(self.seen).ok_or(changed)?;
        let is = Shape::of(outcome);
        self.seen += 1;
        let begin = self.passed;
        self.passed += was.conversations();
        for (count, shape) in self.failed.iter_mut().zip([was, is]) {
            *count += usize::from(shape == Shape::Failed);
        }
        let (kind, numbers) = match outcome {
            _ if was == Shape::Failed || is == Shape::Failed => return Ok(()),
            _ if was != is => return Err(changed),
            Outcome::Failed => return Ok(()),
            Outcome::Single(one) => (Kind::Single(prompt), vec![one]),
            Outcome::Pair(chosen, rejected) => (Kind::Pair, vec![chosen, rejected]),
        };
        let width = self.labels.len();
        let conversation = self.values[1].len() / width.max(1);
        let before = (self.first.values)
            .get(begin * width..self.passed * width)
            .ok_or(changed)?;
        self.values[0].extend_from_slice(before);
        for (place, numbers) in numbers.into_iter().enumerate() {
            if numbers.values.len() != width {
                return Err(changed);
            }
            self.values[1].extend_from_slice(&numbers.values);
            let same = self.first.tokens.get(begin + place) == Some(&tokens(numbers));
            self.other_tokens += usize::from(!same);
        }
        self.compared.push(Compared {
            name,
            conversation,
            kind,
        });
        Ok(())
    }

    /// What came of it.
    ///
    /// # Errors
    /// [`DataChanged`] when the first pass had more records.
    pub fn finish(self) -> Result<DriftReport, DataChanged> {
        if self.seen < self.first.records.len() {
            return Err(DataChanged {
                record: self.seen + 1,
            });
        }
        let labels = self.labels.iter().enumerate();
        Ok(DriftReport {
            records: self.seen,
            failed: self.failed,
            compared: self.compared.len(),
            conversations: self.values[1].len() / self.labels.len().max(1),
            other_tokens: self.other_tokens,
            labels: labels
                .map(|(place, label)| self.drift(place, label))
                .collect(),
        })
    }

    fn drift(&self, place: usize, label: &str) -> LabelDrift {
        let [a, b] = [0, 1].map(|bundle: usize| {
            let of_label = self.values[bundle].iter().skip(place);
            let of_label = of_label.step_by(self.labels.len());
            of_label.map(|&value| f64::from(value)).collect::<Vec<_>>()
        });
        let pairs = self.compared.iter().filter_map(|record| match record.kind {
            Kind::Pair => {
                let margin =
                    |scores: &[f64]| scores[record.conversation] - scores[record.conversation + 1];
                Some((&record.name, margin(&a), margin(&b)))
            }
            Kind::Single(_) => None,
        });
        let mut groups: Vec<Vec<(&RecordName, f64, f64)>> = Vec::new();
        let mut places = HashMap::new();
        for record in &self.compared {
            if let Kind::Single(Some(prompt)) = record.kind {
                let group = *places.entry(prompt).or_insert_with(|| {
                    groups.push(Vec::new());
                    groups.len() - 1
                });
                let at = record.conversation;
                groups[group].push((&record.name, a[at], b[at]));
            }
        }
        LabelDrift {
            label: label.to_owned(),
            scores: ScoreDrift::new(&a, &b, |conversation| self.conversation(conversation)),
            pairs: PairDrift::new(pairs),
            groups: GroupDrift::new(groups.into_iter()),
        }
    }

    /// The record that a compared conversation belongs to.
    fn conversation(&self, place: usize) -> Option<(RecordName, Side)> {
        let after = self
            .compared
            .partition_point(|record| record.conversation <= place);
        let record = self.compared.get(after.checked_sub(1)?)?;
        let side = match (record.kind, place - record.conversation) {
            (Kind::Single(_), _) => Side::Whole,
            (Kind::Pair, 0) => Side::Chosen,
            (Kind::Pair, _) => Side::Rejected,
        };
        Some((record.name.clone(), side))
    }
}

/// Tokens of a conversation; none has four billion.
fn tokens(numbers: &Numbers) -> u32 {
    u32::try_from(numbers.tokens).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Conversation;

    fn numbers(values: &[f32]) -> Numbers {
        Numbers {
            values: values.to_vec(),
            tokens: 5,
        }
    }

    fn single(score: f32) -> Outcome {
        Outcome::Single(numbers(&[score]))
    }

    fn pair(chosen: f32, rejected: f32) -> Outcome {
        Outcome::Pair(numbers(&[chosen]), numbers(&[rejected]))
    }

    fn prompt(text: &str) -> Option<PromptKey> {
        PromptKey::of(&Conversation::exchange(text, "answer"))
    }

    fn name(line: usize) -> RecordName {
        RecordName {
            line,
            id: Some(json!(format!("r{line}")).into()),
        }
    }

    fn compare(
        labels: &[&str],
        records: &[(Option<PromptKey>, Outcome, Outcome)],
    ) -> Result<DriftReport, DataChanged> {
        let mut first = FirstPass::default();
        for (_, a, _) in records {
            first.push(a);
        }
        assert_eq!(first.records(), records.len());
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        let mut comparison = Comparison::new(first, labels);
        for (place, (prompt, _, b)) in records.iter().enumerate() {
            comparison.push(name(place + 1), *prompt, b)?;
        }
        comparison.finish()
    }

    #[test]
    fn everything_at_once() {
        let one = prompt("one");
        let two = prompt("two");
        let report = compare(
            &["score"],
            &[
                (one, single(1.0), single(1.5)),
                (None, pair(2.0, 1.0), pair(1.0, 1.25)),
                (one, single(3.0), single(1.0)),
                (one, Outcome::Failed, single(9.0)),
                (two, single(0.0), single(0.0)),
                (None, pair(1.0, 1.0), pair(1.0, 0.5)),
                (one, single(2.0), Outcome::Failed),
                (None, Outcome::Failed, Outcome::Failed),
                (None, pair(0.0, 4.0), pair(0.0, 5.0)),
                (two, single(-1.0), single(-2.0)),
                (prompt("three"), single(0.5), single(0.5)),
            ],
        )
        .unwrap();
        assert_eq!((report.records, report.compared), (11, 8));
        assert_eq!((report.failed, report.conversations), ([2, 2], 11));
        let [label] = report.labels.as_slice() else {
            panic!("{:?}", report.labels);
        };

        // In the order of the data: -0.5, 1, -0.25, 2, 0, 0, 0.5, 0, -1, 1, 0.
        let scores = label.scores.as_ref().unwrap();
        assert_eq!(scores.differences.n, 11);
        assert_eq!(scores.differences.mean, 2.75 / 11.0);
        assert_eq!(scores.differences.max_abs, 2.0);
        let largest: Vec<_> = scores
            .largest
            .iter()
            .map(|one| (one.record.to_string(), one.side, one.scores))
            .collect();
        let expected = [
            ("r3", Side::Whole, [3.0, 1.0]),
            ("r2", Side::Chosen, [2.0, 1.0]),
            ("r9", Side::Rejected, [4.0, 5.0]),
            ("r10", Side::Whole, [-1.0, -2.0]),
            ("r1", Side::Whole, [1.0, 1.5]),
            ("r6", Side::Rejected, [1.0, 0.5]),
            ("r2", Side::Rejected, [1.0, 1.25]),
        ]
        .map(|(record, side, scores)| (record.to_owned(), side, scores));
        assert_eq!(largest, expected);

        // Margins: 1 and -0.25, 0 and 0.5, -4 and -5.
        let pairs = label.pairs.as_ref().unwrap();
        assert_eq!((pairs.margins.n, pairs.margins.mean), (3, 1.75 / 3.0));
        assert_eq!(pairs.accuracy, [1.0 / 3.0, 1.0 / 3.0]);
        let flips: Vec<_> = pairs
            .flips
            .iter()
            .map(|flip| (flip.record.line, flip.margins))
            .collect();
        assert_eq!(flips, [(2, [1.0, -0.25]), (6, [0.0, 0.5])]);

        // Prompt one has records 1 and 3 left, which change places; prompt two has 5 and 10.
        let groups = label.groups.as_ref().unwrap();
        assert_eq!((groups.groups, groups.answers), (2, 4));
        let changed: Vec<_> = groups
            .best_changed
            .iter()
            .map(|change| change.best.clone().map(|name| name.line))
            .collect();
        assert_eq!(changed, [[3, 1]]);
        assert_eq!(groups.concordance.pairs, 2);
        assert_eq!(groups.concordance.discordant, 1);
        assert_eq!(
            (groups.mean_tau_b, groups.prompts_with_tau_b),
            (Some(0.0), 2)
        );
    }

    #[test]
    fn each_label_by_itself() {
        let scored = |a: f32, b: f32| Outcome::Single(numbers(&[a, b]));
        let same = prompt("same");
        let report = compare(
            &["kind", "true"],
            &[
                (same, scored(1.0, 5.0), scored(1.0, 4.0)),
                (same, scored(2.0, 3.0), scored(3.0, 4.5)),
            ],
        )
        .unwrap();
        let of = |label: usize| {
            let drift = &report.labels[label];
            let groups = drift.groups.as_ref().unwrap();
            let mean = drift.scores.as_ref().unwrap().differences.mean;
            (drift.label.as_str(), mean, groups.best_changed.len())
        };
        assert_eq!(report.conversations, 2);
        assert_eq!(of(0), ("kind", -0.5, 0));
        assert_eq!(of(1), ("true", -0.25, 1));
    }

    #[test]
    fn nothing_in_common() {
        let report = compare(&["score"], &[(None, Outcome::Failed, single(1.0))]).unwrap();
        let label = &report.labels[0];
        assert!(label.scores.is_none() && label.pairs.is_none() && label.groups.is_none());
        let report = compare(&["score"], &[]).unwrap();
        assert_eq!((report.records, report.conversations), (0, 0));
    }

    #[test]
    fn equal_scores_leave_the_first_answer_the_best() {
        let same = prompt("same");
        let report = compare(
            &["score"],
            &[
                (same, single(1.0), single(0.5)),
                (same, single(1.0), single(0.5)),
            ],
        )
        .unwrap();
        let groups = report.labels[0].groups.as_ref().unwrap();
        assert!(groups.best_changed.is_empty());
        assert_eq!((groups.mean_tau_b, groups.prompts_with_tau_b), (None, 0));
    }

    #[test]
    fn other_tokens_are_counted() {
        let mut first = FirstPass::default();
        first.push(&pair(1.0, 2.0));
        let mut comparison = Comparison::new(first, vec!["score".into()]);
        let longer = Numbers {
            tokens: 6,
            ..numbers(&[2.0])
        };
        let outcome = Outcome::Pair(numbers(&[1.0]), longer);
        comparison.push(name(1), None, &outcome).unwrap();
        assert_eq!(comparison.finish().unwrap().other_tokens, 1);
    }

    #[test]
    fn data_that_changes_is_an_error() {
        let mut first = FirstPass::default();
        first.push(&single(1.0));
        first.push(&pair(1.0, 2.0));
        let begin = || Comparison::new(first.clone(), vec!["score".into()]);

        let mut other_form = begin();
        let error = other_form.push(name(1), None, &pair(1.0, 2.0)).unwrap_err();
        assert_eq!(error.record, 1);

        let mut shorter = begin();
        shorter.push(name(1), None, &single(1.0)).unwrap();
        assert_eq!(shorter.finish().unwrap_err().record, 2);

        let mut longer = begin();
        longer.push(name(1), None, &single(1.0)).unwrap();
        longer.push(name(2), None, &pair(1.0, 2.0)).unwrap();
        let error = longer.push(name(3), None, &single(1.0)).unwrap_err();
        assert!(error.to_string().contains("record 3"), "{error}");
    }
}
