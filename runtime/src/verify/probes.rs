//! Runs a bundle's probes and compares their scores with the reference.

use super::{Limit, ProbeDrift, Reference, reference, scoring::scores_of_ids};
use crate::{Result, Scorer};

/// What came of a bundle's probes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProbeReport {
    /// The limit in force.
    pub limit: Limit,
    /// The probes that have a reference, in its order.
    pub results: Vec<ProbeResult>,
    /// Probes of the manifest that have no reference: those that the model does not take.
    pub unreferenced: Vec<String>,
}

/// What came of one probe.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProbeResult {
    /// Its name.
    pub name: String,
    /// Its tokens.
    pub tokens: usize,
    /// Scores on the reference path: one, or one for each label.
    pub reference: Vec<f32>,
    /// Scores of the bundle, or why there are none to compare.
    pub got: Result<Vec<f32>, String>,
    /// Largest difference, and whether it is within the limit. `None` where there is nothing to compare.
    pub difference: Option<(f64, bool)>,
}

impl ProbeReport {
    /// Whether every probe's score is within the limit.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.results.is_empty() && self.failures() == 0
    }

    /// Probes whose score is not within the limit, or that have none.
    #[must_use]
    pub fn failures(&self) -> usize {
        let passed = |result: &&ProbeResult| matches!(result.difference, Some((_, true)));
        self.results.len() - self.results.iter().filter(passed).count()
    }

    /// The largest difference to the reference; `None` when no probe has a score.
    #[must_use]
    pub fn worst(&self) -> Option<f64> {
        let differences = self.results.iter().filter_map(|result| result.difference);
        differences
            .map(|(difference, _)| difference)
            .reduce(f64::max)
    }
}

/// Scores the probes of a bundle and compares them with `reference`. Conversations go through the bundle's
/// template and tokenizer, and have to become the token ids that the reference was made with.
///
/// `limit` is the largest difference; default: [`Limit::of`] the bundle and what was measured of it.
///
/// The scorer should be opened with [`scorer_options`](super::scorer_options).
#[must_use]
pub fn run(scorer: &Scorer, reference: &Reference, limit: Option<f64>) -> ProbeReport {
    let manifest = scorer.manifest();
    report(scorer, reference, limit, |expected| {
        let probe = manifest.probes.iter().find(|p| p.name == expected.name);
        probe.map_or(Ok(()), |probe| {
            let now = reference::token_ids(scorer, probe).map_err(|e| e.to_string())?;
            same_ids(&now, &expected.ids)
        })
    })
}

/// As [`run`], of the token ids that the reference has: whether the devices give the scores they should, for a scorer of any
/// options.
#[must_use]
pub fn run_on_ids(scorer: &Scorer, reference: &Reference, limit: Option<f64>) -> ProbeReport {
    report(scorer, reference, limit, |_| Ok(()))
}

fn report(
    scorer: &Scorer,
    reference: &Reference,
    limit: Option<f64>,
    check_text: impl Fn(&reference::ProbeScores) -> Result<(), String>,
) -> ProbeReport {
    let manifest = scorer.manifest();
    let limit = limit.map_or_else(
        || {
            let measured = reference.drift.as_ref();
            Limit::of(manifest, measured, scorer.matmul_precision())
        },
        Limit::given,
    );
    let sequences: Vec<Vec<u32>> = reference.probes.iter().map(|p| p.ids.clone()).collect();
    let results = reference
        .probes
        .iter()
        .zip(scores_of_ids(scorer, &sequences))
        .map(|(expected, got)| {
            let got = check_text(expected).and_then(|()| got.map_err(|error| error.to_string()));
            compare(expected, got, &limit)
        })
        .collect();
    let referenced = |name: &str| reference.probes.iter().any(|probe| probe.name == name);
    let names = manifest.probes.iter().map(|probe| probe.name.as_str());
    ProbeReport {
        limit,
        results,
        unreferenced: names
            .filter(|name| !referenced(name))
            .map(str::to_owned)
            .collect(),
    }
}

fn same_ids(now: &[u32], then: &[u32]) -> Result<(), String> {
    if now == then {
        return Ok(());
    }
    let parted = now.iter().zip(then).take_while(|(a, b)| a == b).count();
    Err(format!(
        "its conversation becomes other tokens than when the reference was made, from position {parted} on \
         ({} tokens, and {} then)",
        now.len(),
        then.len()
    ))
}

fn compare(
    expected: &reference::ProbeScores,
    got: Result<Vec<f32>, String>,
    limit: &Limit,
) -> ProbeResult {
    let got = got.and_then(|got| {
        if got.len() == expected.scores.len() {
            return Ok(got);
        }
        Err(format!(
            "the model gives another number of scores ({}) than the reference has ({})",
            got.len(),
            expected.scores.len()
        ))
    });
    let difference = got.as_ref().ok().map(|got| {
        let pairs = got.iter().zip(&expected.scores);
        pairs.fold((0.0, true), |(worst, within), (&got, &expected)| {
            let difference = (f64::from(got) - f64::from(expected)).abs();
            let limit = limit.for_reference(expected);
            (f64::max(worst, difference), within && difference <= limit)
        })
    });
    ProbeResult {
        name: expected.name.clone(),
        tokens: expected.ids.len(),
        reference: expected.scores.clone(),
        got,
        difference,
    }
}

impl ProbeDrift {
    /// Of the probes that have a score in a report.
    #[must_use]
    pub fn of_report(report: &ProbeReport) -> Option<Self> {
        let scored = report
            .results
            .iter()
            .filter_map(|result| Some((result.got.as_ref().ok()?, &result.reference)));
        Self::of(scored.flat_map(|(got, reference)| got.iter().copied().zip(reference.clone())))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn result(reference: &[f32], got: Result<Vec<f32>, String>) -> ProbeResult {
        let expected: reference::ProbeScores = serde_json::from_value(serde_json::json!({
            "name": "one", "ids": [1, 2], "scores": reference
        }))
        .unwrap();
        compare(&expected, got, &Limit::given(0.01))
    }

    #[test]
    fn differences_are_judged_in_proportion_to_large_scores() {
        for (reference, got, within) in [
            (0.5, 0.509, true),
            (0.5, 0.511, false),
            (-0.5, -0.511, false),
            (20.0, 20.19, true),
            (-20.0, -20.21, false),
        ] {
            let (difference, found) = result(&[reference], Ok(vec![got])).difference.unwrap();
            assert_eq!(found, within, "{got} for {reference}");
            assert!((difference - f64::from((got - reference).abs())).abs() < 1e-5);
        }
    }

    #[test]
    fn one_label_off_is_off() {
        let found = result(&[0.0, 1.0, 2.0], Ok(vec![0.0, 1.5, 2.0])).difference;
        assert_eq!(found, Some((0.5, false)));
    }

    #[test]
    fn no_number_is_never_within() {
        for (got, part) in [
            (Ok(vec![1.0, 1.0]), "number of scores (2)"),
            (Ok(vec![]), "number of scores (0)"),
            (Err("broken".to_owned()), "broken"),
        ] {
            let result = result(&[1.0], got);
            assert!(result.got.as_ref().unwrap_err().contains(part));
            assert!(result.difference.is_none());
            let report = ProbeReport {
                limit: Limit::given(1.0),
                results: vec![result],
                unreferenced: Vec::new(),
            };
            assert!(!report.passed());
            assert_eq!((report.failures(), report.worst()), (1, None));
        }
        let (_, within) = result(&[1.0], Ok(vec![f32::NAN])).difference.unwrap();
        assert!(!within);
    }

    #[test]
    fn no_probes_is_not_a_pass() {
        let report = ProbeReport {
            limit: Limit::given(1.0),
            results: Vec::new(),
            unreferenced: vec!["one".into()],
        };
        assert!(!report.passed());
    }

    #[test]
    fn token_ids_that_part_are_located() {
        assert_eq!(same_ids(&[1, 2], &[1, 2]), Ok(()));
        for (now, then, place) in [
            (&[1, 3][..], &[1, 2][..], "position 1 "),
            (&[1], &[1, 2], "position 1 "),
            (&[1, 2, 3], &[1, 2], "position 2 "),
        ] {
            let error = same_ids(now, then).unwrap_err();
            assert!(error.contains(place), "{error}");
        }
    }
}
