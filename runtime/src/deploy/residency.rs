//! Whether all of a model is in memory, or one stage at a time.

use std::fmt;

use worldpm_ort_bundle::cost::StageMemory;

use super::reason::{ResidencyCause, ResidencyReason};
use crate::engine::Wave;

/// How much of the model is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Residency {
    /// All of it where memory holds it, else one stage at a time.
    #[default]
    Auto,
    /// All stages are loaded once.
    Resident,
    /// One stage after the other is loaded, and every waiting conversation goes through it. A model larger than memory
    /// runs, at the cost of reading its weights anew for every wave of conversations: submit many together. On the CPU
    /// it takes a bundle with a stage for each layer or two: no stage may be larger than memory.
    Streamed,
}

/// What was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// `None` for all stages resident.
    pub(crate) streamed: Option<Streaming>,
    pub(crate) reason: ResidencyReason,
}

/// How stages are streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Streaming {
    pub(crate) wave: Wave,
}

/// What decides about residency.
pub(crate) struct Needs<'a> {
    /// What each stage takes on its device.
    pub(crate) stages: &'a [StageMemory],
    /// Bytes that all of them take together when they are loaded.
    pub(crate) resident: u64,
    /// Bytes of a token's hidden states.
    pub(crate) hidden: u64,
    /// Tokens that fit into a wave in any case.
    pub(crate) least: u64,
    /// Memory for hidden states that wait; `None` for what the stages leave of their own.
    pub(crate) waiting: Option<u64>,
}

impl Needs<'_> {
    /// Bytes of the device with which the model can be streamed: the largest stage, the largest run, and the states of the
    /// shortest wave with those that come out of it.
    pub(crate) fn least_streamed(&self) -> u64 {
        let states = match self.waiting {
            Some(_) => 0,
            None => self.hidden.saturating_mul(self.least).saturating_mul(2),
        };
        self.alone().saturating_add(states)
    }

    fn alone(&self) -> u64 {
        let weights = self.stages.iter().map(|stage| stage.weights).max();
        weights.unwrap_or(0).saturating_add(self.running())
    }

    fn running(&self) -> u64 {
        let transient = |stage: &StageMemory| stage.activations.saturating_add(stage.workspace);
        self.stages.iter().map(transient).max().unwrap_or(0)
    }
}

/// Tokens of a wave where nothing is known of memory.
const WAVE_TOKENS: u64 = 1 << 16;
/// Most tokens of a wave: enough that loading is a small part, and answers still come.
const MOST_WAVE_TOKENS: u64 = 1 << 20;

impl Residency {
    /// Chooses for stages on a device with `memory` bytes.
    pub(crate) fn choose(self, needs: &Needs<'_>, memory: Option<u64>) -> Choice {
        let &Needs {
            stages,
            resident,
            hidden,
            least,
            waiting,
        } = needs;
        let (alone, running) = (needs.alone(), needs.running());
        let fits = memory.is_none_or(|memory| resident <= memory);
        let stream = match self {
            Self::Resident => false,
            Self::Streamed => true,
            Self::Auto => !fits && stages.len() > 1,
        };
        let of_memory = |one_stage| ResidencyCause::Memory {
            needed: resident,
            available: memory,
            one_stage,
        };
        if !stream {
            let cause = match self {
                Self::Auto => of_memory(!fits),
                _ => ResidencyCause::Asked,
            };
            return Choice {
                streamed: None,
                reason: cause.into(),
            };
        }
        let after = |index: usize| &stages[(index + 1) % stages.len()];
        let both = |index: usize| {
            let weights = stages[index].weights;
            weights.saturating_add(after(index).weights)
        };
        // Besides the states of a wave there are those that come out of the run under way.
        let held_by = |bytes: u64| (bytes / hidden.max(1)).saturating_sub(least);
        let left = memory.map(|memory| memory.saturating_sub(alone));
        let tokens = waiting.or(left).map_or(WAVE_TOKENS, held_by);
        let tokens = tokens.clamp(least.max(1), MOST_WAVE_TOKENS.max(least));
        let ahead = |index: usize| {
            let left = memory.map(|memory| memory.checked_sub(both(index).saturating_add(running)));
            let most = match (left, waiting) {
                (None, _) | (Some(Some(_)), Some(_)) => u64::MAX,
                (Some(Some(left)), None) => held_by(left),
                (Some(None), _) => 0,
            };
            usize::try_from(most).unwrap_or(usize::MAX)
        };
        let cause = match self {
            Self::Auto => of_memory(false),
            _ => ResidencyCause::Asked,
        };
        let tokens = usize::try_from(tokens).unwrap_or(usize::MAX);
        Choice {
            streamed: Some(Streaming {
                wave: Wave {
                    tokens,
                    ahead: (0..stages.len()).map(ahead).collect(),
                },
            }),
            reason: ResidencyReason {
                wave_tokens: Some(tokens),
                ..cause.into()
            },
        }
    }
}

impl fmt::Display for Residency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Resident => "resident",
            Self::Streamed => "streamed",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// A first stage of 4 GiB, and four of 3.
    fn stages() -> Vec<StageMemory> {
        let mut stages = vec![StageMemory::default(); 5];
        for (index, stage) in stages.iter_mut().enumerate() {
            stage.weights = if index == 0 { 4 } else { 3 } * GIB;
            stage.activations = GIB;
        }
        stages
    }

    fn choose(
        residency: Residency,
        stages: &[StageMemory],
        hidden: u64,
        memory: Option<u64>,
    ) -> Choice {
        let weights: u64 = stages.iter().map(|stage| stage.weights).sum();
        let needs = Needs {
            stages,
            resident: weights + GIB,
            hidden,
            least: 100,
            waiting: None,
        };
        residency.choose(&needs, memory)
    }

    #[test]
    fn auto_streams_what_does_not_fit() {
        let choose = |memory| choose(Residency::Auto, &stages(), 1024, memory);
        assert_eq!(choose(Some(17 * GIB)).streamed, None);
        assert_eq!(choose(None).streamed, None);
        let choice = choose(Some(17 * GIB - 1));
        assert!(
            choice
                .reason
                .to_string()
                .starts_with("17.00 GiB of 17.00 GiB"),
            "{choice:?}"
        );
        assert!(choice.streamed.is_some());
    }

    #[test]
    fn what_streaming_takes_at_least() {
        let needs = |waiting| {
            Needs {
                stages: &stages(),
                resident: 17 * GIB,
                hidden: 16 << 10,
                least: 100,
                waiting,
            }
            .least_streamed()
        };
        assert_eq!(needs(None), 5 * GIB + 2 * 100 * (16 << 10));
        assert_eq!(needs(Some(GIB)), 5 * GIB);
    }

    #[test]
    fn a_single_stage_is_not_streamed_unasked() {
        let one = &stages()[..1];
        let choice = choose(Residency::Auto, one, 1024, Some(GIB));
        assert_eq!(choice.streamed, None);
        assert!(
            choice.reason.to_string().contains("cannot be streamed"),
            "{choice:?}"
        );
        assert!(
            choose(Residency::Streamed, one, 1024, Some(GIB))
                .streamed
                .is_some()
        );
    }

    #[test]
    fn stages_are_loaded_ahead_where_both_fit_beside_the_wave() {
        // The first stage and its neighbours take 8 GiB with the activations, two others 7.
        let tokens = (GIB >> 10) as usize - 100;
        for (memory, expected) in [
            (
                9 * GIB,
                [
                    tokens,
                    2 * tokens + 100,
                    2 * tokens + 100,
                    2 * tokens + 100,
                    tokens,
                ],
            ),
            (8 * GIB, [0, tokens, tokens, tokens, 0]),
            (7 * GIB, [0; 5]),
            (6 * GIB, [0; 5]),
        ] {
            let choice = choose(Residency::Streamed, &stages(), 1024, Some(memory));
            let wave = choice.streamed.unwrap().wave;
            assert_eq!(wave.ahead, expected, "{memory}");
        }
    }

    #[test]
    fn a_wave_fills_what_is_left() {
        let wave = |memory| {
            let choice = choose(Residency::Streamed, &stages(), 16 << 10, Some(memory));
            choice.streamed.unwrap().wave.tokens as u64
        };
        // 3 GiB beside 5, at 16 KiB a token.
        assert_eq!(wave(8 * GIB), 3 * GIB / (16 << 10) - 100);
        assert_eq!(wave(GIB), 100);
        assert_eq!(wave(1000 * GIB), MOST_WAVE_TOKENS);
        // On a GPU they wait in memory of the host.
        let needs = Needs {
            stages: &stages(),
            resident: 17 * GIB,
            hidden: 16 << 10,
            least: 100,
            waiting: Some(GIB),
        };
        let wave = |memory| {
            let choice = Residency::Streamed.choose(&needs, Some(memory));
            choice.streamed.unwrap().wave
        };
        assert_eq!(wave(GIB).tokens as u64, GIB / (16 << 10) - 100);
        assert_eq!(
            wave(7 * GIB).ahead,
            [0, usize::MAX, usize::MAX, usize::MAX, 0]
        );
    }
}
