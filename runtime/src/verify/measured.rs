//! How far the precision of a bundle moves the scores of its probes, beside how far bf16 does.

use serde::{Deserialize, Serialize};

/// Differences of scores from the reference, over the probes of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProbeDrift {
    /// Root of their mean square.
    pub rms: f64,
    /// The largest one.
    pub largest: f64,
}

/// What an export measured of a bundle whose weights were converted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MeasuredDrift {
    /// Of the bundle.
    pub bundle: ProbeDrift,
    /// Of bf16, simulated: the reference with every result rounded that `transformers` in bf16 rounds.
    pub bf16: ProbeDrift,
    /// The largest difference that is let pass later, as [`Limit::value`](super::Limit::value): twice what was measured, and at least the limit
    /// of fp32.
    pub limit: f64,
}

impl ProbeDrift {
    /// Of pairs of a score and its reference; `None` when there are none, or not only finite ones.
    #[must_use]
    pub fn of(pairs: impl IntoIterator<Item = (f32, f32)>) -> Option<Self> {
        let (mut count, mut squares, mut largest) = (0_u32, 0.0, 0.0_f64);
        for (got, reference) in pairs {
            let difference = (f64::from(got) - f64::from(reference)).abs();
            if !difference.is_finite() {
                return None;
            }
            count += 1;
            squares += difference * difference;
            largest = largest.max(difference);
        }
        (count > 0).then(|| Self {
            rms: (squares / f64::from(count)).sqrt(),
            largest,
        })
    }

    /// Whether the numbers can be those of differences.
    fn is_sound(&self) -> bool {
        let numbers = [self.rms, self.largest];
        numbers
            .iter()
            .all(|number| number.is_finite() && *number >= 0.0)
            && self.rms <= self.largest
    }
}

impl std::fmt::Display for ProbeDrift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rms {:.2e}, largest {:.2e}", self.rms, self.largest)
    }
}

impl MeasuredDrift {
    /// What is wrong with numbers that were read from a file.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, drift) in [("bundle", self.bundle), ("bf16", self.bf16)] {
            if !drift.is_sound() {
                return Err(format!(
                    "`drift.{name}` must have finite numbers, not negative, and `rms` no larger than `largest`"
                ));
            }
        }
        if self.limit.is_finite() && self.limit > 0.0 {
            return Ok(());
        }
        Err("`drift.limit` must be a finite number above 0".into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_of_finite_differences() {
        let drift = ProbeDrift::of([(1.0, 1.0), (2.0, 1.0), (0.0, -1.0), (1.0, 0.0)]).unwrap();
        assert_eq!((drift.rms, drift.largest), (0.75_f64.sqrt(), 1.0));
        assert_eq!(ProbeDrift::of([]), None);
        assert_eq!(ProbeDrift::of([(1.0, 1.0), (f32::NAN, 1.0)]), None);
        assert_eq!(ProbeDrift::of([(f32::INFINITY, 1.0)]), None);
    }

    #[test]
    fn recorded_numbers_are_checked() {
        let sound = ProbeDrift {
            rms: 0.5,
            largest: 1.0,
        };
        let bad = |rms, largest| ProbeDrift { rms, largest };
        let of = |bundle, bf16, limit| MeasuredDrift {
            bundle,
            bf16,
            limit,
        };
        assert_eq!(of(sound, sound, 1.0).check(), Ok(()));
        for (drift, field) in [
            (of(bad(2.0, 1.0), sound, 1.0), "drift.bundle"),
            (of(sound, bad(-1.0, 1.0), 1.0), "drift.bf16"),
            (of(sound, bad(0.0, f64::INFINITY), 1.0), "drift.bf16"),
            (of(sound, sound, 0.0), "drift.limit"),
            (of(sound, sound, f64::NAN), "drift.limit"),
        ] {
            let problem = drift.check().unwrap_err();
            assert!(problem.contains(field), "{problem}");
        }
    }
}
