//! What changes among answers to the same prompt: the best of them, and their order.

use super::{RecordName, stats::Concordance};

/// What changes among answers to the same prompt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GroupDrift {
    /// Prompts with two answers or more.
    pub groups: usize,
    /// Their answers.
    pub answers: usize,
    /// Prompts whose best answer is another one. Of equal scores, that of the answer that stands first in
    /// the data counts as the best.
    pub best_changed: Vec<BestChange>,
    /// How the answers of a prompt stand to one another, two by two, over all prompts.
    pub concordance: Concordance,
    /// Mean over the prompts of Kendall's rank correlation, tau-b; `None` when no prompt has one.
    pub mean_tau_b: Option<f64>,
    /// Prompts that have one: those where not all answers score the same with one of the bundles.
    pub prompts_with_tau_b: usize,
}

/// A prompt whose best answer is another one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BestChange {
    /// The best answers of the first bundle and of the second.
    pub best: [RecordName; 2],
}

impl GroupDrift {
    /// From the answers of each prompt: `(record, score of the first bundle, score of the second)`, in the
    /// order of the data. `None` when no prompt has two.
    pub(super) fn new<'r>(
        groups: impl Iterator<Item = Vec<(&'r RecordName, f64, f64)>>,
    ) -> Option<Self> {
        let mut drift = Self {
            groups: 0,
            answers: 0,
            best_changed: Vec::new(),
            concordance: Concordance::default(),
            mean_tau_b: None,
            prompts_with_tau_b: 0,
        };
        let mut taus = 0.0;
        for answers in groups.filter(|answers| answers.len() > 1) {
            drift.groups += 1;
            drift.answers += answers.len();
            let a: Vec<f64> = answers.iter().map(|(_, a, _)| *a).collect();
            let b: Vec<f64> = answers.iter().map(|(_, _, b)| *b).collect();
            let best = [best(&a), best(&b)];
            if best[0] != best[1] {
                let best = best.map(|place| answers[place].0.clone());
                drift.best_changed.push(BestChange { best });
            }
            let concordance = Concordance::of(&a, &b);
            drift.concordance += concordance;
            if let Some(tau) = concordance.tau_b() {
                drift.prompts_with_tau_b += 1;
                taus += tau;
            }
        }
        if drift.prompts_with_tau_b > 0 {
            #[allow(clippy::cast_precision_loss)]
            let mean = taus / drift.prompts_with_tau_b as f64;
            drift.mean_tau_b = Some(mean);
        }
        (drift.groups > 0).then_some(drift)
    }
}

/// The place of the first of the highest numbers.
fn best(scores: &[f64]) -> usize {
    let mut best = 0;
    for (place, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            best = place;
        }
    }
    best
}
