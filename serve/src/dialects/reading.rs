//! Numbers of a reward, for dialects that know lists or one number.

use worldpm_ort_runtime::{Output, Reward};

use crate::http::Problem;

/// All numbers: the score, one for each label, or one for each step.
pub(crate) fn numbers(reward: &Reward) -> Vec<f64> {
    let all: &[f32] = match &reward.output {
        Output::Score(score) => std::slice::from_ref(score),
        Output::Labels(labels) => labels.values(),
        Output::Steps(steps) => steps.rewards(),
        // `Output` may grow.
        _ => &[],
    };
    all.iter().copied().map(f64::from).collect()
}

/// The one number.
///
/// # Errors
/// When the model gives several.
pub(crate) fn number(reward: &Reward) -> Result<f64, Problem> {
    let score = reward.score().map_err(|error| {
        Problem::invalid(format!(
            "{error}; this path answers with one number, so ask /v1/score"
        ))
    })?;
    Ok(score.score.into())
}

/// What an activation makes of raw scores: the sigmoid of one, the softmax of several.
pub(crate) fn activated(raw: &[f64]) -> Vec<f64> {
    if let [one] = raw {
        return vec![1.0 / (1.0 + (-one).exp())];
    }
    let most = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = raw.iter().map(|raw| (raw - most).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|one| one / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations() {
        assert_eq!(activated(&[0.0]), [0.5]);
        assert_eq!(activated(&[1000.0]), [1.0]);
        assert_eq!(activated(&[-1000.0]), [0.0]);
        assert_eq!(activated(&[3.0, 3.0]), [0.5, 0.5]);
        assert_eq!(activated(&[1e30, 0.0]), [1.0, 0.0]);
    }
}
