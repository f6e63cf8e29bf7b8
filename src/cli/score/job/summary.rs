//! What a job came to.

use std::collections::BTreeMap;

use worldpm_ort_jobs::{Distribution, Lengths};

use crate::answers::{Answer, Outcome, ScoredConversation};

/// What a job came to.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) records: u64,
    pub(super) failures: BTreeMap<String, u64>,
    lengths: Lengths,
    tokens: u64,
    scores: BTreeMap<String, Distribution>,
    margins: Distribution,
    preferred: u64,
}

impl Summary {
    /// Adds the result of a record, as its line says it.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.outcome(serde_json::from_slice(line).ok().as_ref());
    }

    /// Adds what came of a record.
    pub(super) fn outcome(&mut self, outcome: Option<&Outcome>) {
        self.records += 1;
        match outcome {
            Some(Outcome::Answer(Answer::Single(one))) => self.conversation(one),
            Some(Outcome::Answer(Answer::Pair(pair))) => {
                self.conversation(&pair.chosen);
                self.conversation(&pair.rejected);
                if let Some(margin) = pair.margin {
                    self.margins.add(margin);
                    self.preferred += u64::from(margin > 0.0);
                }
            }
            Some(Outcome::Answer(Answer::Candidates(all))) => {
                for one in &all.candidates {
                    self.conversation(&one.scored);
                }
            }
            Some(Outcome::Failure { .. }) | None => {}
        }
    }

    fn conversation(&mut self, scored: &ScoredConversation) {
        self.lengths.add(scored.tokens as u64);
        self.tokens += scored.tokens as u64;
        let mut add = |name: &str, score| {
            if !self.scores.contains_key(name) {
                self.scores.insert(name.to_owned(), Distribution::default());
            }
            if let Some(scores) = self.scores.get_mut(name) {
                scores.add(score);
            }
        };
        if let Some(score) = scored.score {
            add("scores", score);
        }
        for (label, score) in scored.scores.iter().flat_map(|all| &all.0) {
            add(label, *score);
        }
        for step in scored.steps.iter().flatten() {
            add("steps", *step);
        }
    }

    /// As lines of text.
    pub(super) fn lines(&self) -> Vec<String> {
        let failed: u64 = self.failures.values().sum();
        let kinds: Vec<String> = self
            .failures
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        let kinds = match kinds.is_empty() {
            true => String::new(),
            false => format!(" ({})", kinds.join(", ")),
        };
        let mut lines = vec![format!(
            "{} records: {} scored, {failed} with errors{kinds}",
            self.records,
            self.records - failed
        )];
        let length = |share| self.lengths.quantile(share).unwrap_or_default();
        if self.lengths.number() > 0 {
            lines.push(format!(
                "{} conversations of {} tokens: shortest {}, median {}, 95th percentile {}, longest {}",
                self.lengths.number(),
                self.tokens,
                length(0.0),
                length(0.5),
                length(0.95),
                length(1.0)
            ));
        }
        let named = self
            .scores
            .iter()
            .map(|(name, scores)| (name.as_str(), scores));
        let margins = (self.margins.number() > 0).then_some(("margins", &self.margins));
        for (name, scores) in named.chain(margins) {
            let Some((least, most)) = scores.range() else {
                continue;
            };
            let quantile = |share| scores.quantile(share).unwrap_or_default();
            lines.push(format!(
                "{name}: mean {:.4}, standard deviation {:.4}, least {least:.4}, 5th percentile {:.4}, median {:.4}, 95th \
                 percentile {:.4}, greatest {most:.4}",
                scores.mean(),
                scores.deviation(),
                quantile(0.05),
                quantile(0.5),
                quantile(0.95)
            ));
        }
        if self.margins.number() > 0 {
            lines.push(format!(
                "chosen is above rejected in {} of {} pairs",
                self.preferred,
                self.margins.number()
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_summed_up() {
        let mut summary = Summary::default();
        for line in [
            r#"{"id":1,"score":1.5,"tokens":3}"#,
            r#"{"score":-0.5,"tokens":5}"#,
            r#"{"chosen":{"score":1.0,"tokens":10},"rejected":{"score":0.0,"tokens":4},"margin":1.0,"probability":0.75}"#,
            r#"{"line":4,"error":"no"}"#,
        ] {
            summary.add(line.as_bytes());
        }
        summary.failures.insert("invalid_input".to_owned(), 1);
        // Quantiles are right to 0.05%.
        assert_eq!(
            summary.lines(),
            [
                "4 records: 3 scored, 1 with errors (invalid_input 1)",
                "4 conversations of 22 tokens: shortest 3, median 4, 95th percentile 10, longest 10",
                "scores: mean 0.5000, standard deviation 0.7906, least -0.5000, 5th percentile -0.4999, median 0.0000, 95th \
                 percentile 1.5000, greatest 1.5000",
                "margins: mean 1.0000, standard deviation 0.0000, least 1.0000, 5th percentile 1.0000, median 1.0000, 95th \
                 percentile 1.0000, greatest 1.0000",
                "chosen is above rejected in 1 of 1 pairs",
            ]
        );
        assert_eq!(Summary::default().lines().len(), 1);
    }
}
