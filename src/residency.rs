//! Whether all of a model is in memory, or one stage at a time.

use std::fmt;

use worldpm_ort_export::plan::{Bytes, StageMemory};

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
    pub(crate) reason: String,
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
    /// Bytes of a token's hidden states.
    pub(crate) hidden: u64,
    /// Tokens that fit into a wave in any case.
    pub(crate) least: u64,
    /// Memory for hidden states that wait; `None` for what the stages leave of their own.
    pub(crate) waiting: Option<u64>,
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
            hidden,
            least,
            waiting,
        } = needs;
        let weights: u64 = stages.iter().map(|stage| stage.weights).sum();
        let transient = |stage: &StageMemory| stage.activations + stage.workspace;
        let running = stages.iter().map(transient).max().unwrap_or(0);
        let resident = weights + running;
        let fits = memory.is_none_or(|memory| resident <= memory);
        let stream = match self {
            Self::Resident => false,
            Self::Streamed => true,
            Self::Auto => !fits && stages.len() > 1,
        };
        let of_memory = match memory {
            Some(memory) => format!("{} of {}", Bytes(resident), Bytes(memory)),
            None => Bytes(resident).to_string(),
        };
        if !stream {
            let reason = match self {
                Self::Auto if !fits => {
                    format!("{of_memory} of memory, and a bundle of one stage cannot be streamed")
                }
                Self::Auto => format!("{of_memory} of memory"),
                _ => "as asked".to_owned(),
            };
            return Choice {
                streamed: None,
                reason,
            };
        }
        let after = |index: usize| &stages[(index + 1) % stages.len()];
        let both = |index: usize| stages[index].weights + after(index).weights;
        let prefetch: Vec<bool> = (0..stages.len())
            .map(|index| memory.is_none_or(|memory| both(index) + running <= memory))
            .collect();
        let held = (0..stages.len())
            .map(|index| match prefetch[index] {
                true => both(index),
                false => stages[index].weights,
            })
            .max()
            .unwrap_or(0)
            + running;
        let left = memory.map(|memory| memory.saturating_sub(held));
        // The states of a wave are there twice at most, going in and coming out.
        let tokens = waiting
            .or(left)
            .map_or(WAVE_TOKENS, |bytes| bytes / (2 * hidden.max(1)));
        let tokens = tokens.clamp(least.max(1), MOST_WAVE_TOKENS.max(least));
        let why = match self {
            Self::Auto => format!("{of_memory} of memory"),
            _ => "as asked".to_owned(),
        };
        Choice {
            streamed: Some(Streaming {
                wave: Wave {
                    tokens: usize::try_from(tokens).unwrap_or(usize::MAX),
                    prefetch,
                },
            }),
            reason: format!("{why}; waves of up to {tokens} tokens"),
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
        let needs = Needs {
            stages,
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
            choice.reason.starts_with("17.00 GiB of 17.00 GiB"),
            "{choice:?}"
        );
        assert!(choice.streamed.is_some());
    }

    #[test]
    fn a_single_stage_is_not_streamed_unasked() {
        let one = &stages()[..1];
        let choice = choose(Residency::Auto, one, 1024, Some(GIB));
        assert_eq!(choice.streamed, None);
        assert!(choice.reason.contains("cannot be streamed"), "{choice:?}");
        assert!(
            choose(Residency::Streamed, one, 1024, Some(GIB))
                .streamed
                .is_some()
        );
    }

    #[test]
    fn stages_are_loaded_ahead_where_both_fit() {
        // The first stage and its neighbours take 8 GiB with the activations, two others 7.
        for (memory, expected) in [
            (8 * GIB, [true; 5]),
            (7 * GIB, [false, true, true, true, false]),
            (6 * GIB, [false; 5]),
        ] {
            let choice = choose(Residency::Streamed, &stages(), 1024, Some(memory));
            let wave = choice.streamed.unwrap().wave;
            assert_eq!(wave.prefetch, expected, "{memory}");
        }
    }

    #[test]
    fn a_wave_fills_what_is_left() {
        let wave = |memory| {
            let choice = choose(Residency::Streamed, &stages(), 16 << 10, Some(memory));
            choice.streamed.unwrap().wave.tokens as u64
        };
        // 1 GiB beside 8: at 32 KiB a token.
        assert_eq!(wave(9 * GIB), GIB / (32 << 10));
        assert_eq!(wave(GIB), 100);
        assert_eq!(wave(1000 * GIB), MOST_WAVE_TOKENS);
        // On a GPU they wait in memory of the host.
        let needs = Needs {
            stages: &stages(),
            hidden: 16 << 10,
            least: 100,
            waiting: Some(GIB),
        };
        let choice = Residency::Streamed.choose(&needs, Some(GIB));
        assert_eq!(
            choice.streamed.unwrap().wave.tokens as u64,
            GIB / (32 << 10)
        );
    }
}
