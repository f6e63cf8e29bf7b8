//! How much of a model there is room for.

use std::{collections::BTreeMap, fs, num::NonZeroUsize};

use worldpm_ort_bundle::{
    Bytes, Device,
    cost::{DEFAULT_MEAN_LENGTH, ModelCosts, StageMemory, TokenBudget},
    floats::FloatGraph,
};

use super::residency::{Choice, Needs, Residency};
use crate::{
    batch::Budget,
    bundle::Bundle,
    ep::Slot,
    error::{Error, OptionProblem, Result},
    host::memory,
    options::ScorerOptions,
};

/// Most that the allocators of a stage on the CPU keep when its run is over and other stages run: blocks too small to be
/// given back at once. Measured with six stages: 26 MiB for each.
const KEPT_BYTES: u64 = 32 << 20;
/// A tokenizer takes about this many times the bytes of its file.
const TOKENIZER_FACTOR: u64 = 10;
/// Bytes of a tokenizer's file that the fixed part of a stage's memory has room for, with the library and the program.
const TOKENIZER_BYTES: u64 = 8 << 20;

/// What decides how much of a model is in memory.
pub(super) struct Room<'a> {
    bundle: &'a Bundle,
    options: &'a ScorerOptions,
    slots: &'a [Vec<Slot>],
    /// Bytes of the device, where they are known.
    available: Option<u64>,
    /// Bytes for hidden states, where those are elsewhere.
    waiting: Option<u64>,
    /// Bytes of a tokenizer beyond those that are always counted.
    text: u64,
    /// Of each stage, bytes of weights that are in memory twice while it is streamed.
    packed: Vec<u64>,
    /// Of each stage, bytes of weights that our kernels read where they are.
    in_place: Vec<u64>,
}

impl<'a> Room<'a> {
    pub(super) fn new(
        bundle: &'a Bundle,
        options: &'a ScorerOptions,
        slots: &'a [Vec<Slot>],
        threads: NonZeroUsize,
        free: Option<u64>,
        in_place: Vec<u64>,
    ) -> Result<Self> {
        let manifest = bundle.manifest();
        let host = memory::available();
        let mut room = Self {
            bundle,
            options,
            slots,
            available: options.memory.or(host),
            waiting: None,
            text: 0,
            packed: vec![0; manifest.stages.len()],
            in_place,
        };
        if manifest.device == Device::Cuda {
            room.available = options.memory.into_iter().chain(free).min();
            room.waiting = host.map(|bytes| bytes / 2);
            return Ok(room);
        }
        let names = manifest.text.files.iter().map(|file| &file.name);
        let sizes = names.filter_map(|name| fs::metadata(bundle.directory().join(name)).ok());
        let bytes: u64 = sizes.map(|file| file.len()).sum();
        room.text = bytes.saturating_sub(TOKENIZER_BYTES) * TOKENIZER_FACTOR;
        if options.residency != Residency::Resident {
            let stages = manifest.stages.iter().zip(&room.in_place);
            for ((stage, &in_place), packed) in stages.zip(&mut room.packed) {
                // Where our kernels multiply, there are no floats to pack.
                if in_place > 0 {
                    continue;
                }
                let graph = bundle.directory().join(&stage.graph);
                let graph = FloatGraph::read(&graph, &bundle.stage_weights(stage), threads)?;
                *packed = graph.packed_bytes();
            }
        }
        Ok(room)
    }

    /// How much of a model with these stages is in memory, and the most tokens of a conversation, at most `max_length`.
    pub(super) fn residency(
        &self,
        stages: &[StageMemory],
        max_length: usize,
    ) -> Result<(Choice, usize)> {
        let with_text = self.with_text(stages);
        let streamed = self.streamed(&with_text);
        let needs = self.needs(&streamed, self.resident(&with_text), self.options.budget);
        let mut choice = self.options.residency.choose(&needs, self.available);
        let is_streamed = choice.streamed.is_some();
        // Without a limit that was asked for, what is free may be enough for a model that the estimate is too high for.
        let limit = match is_streamed {
            true => self.available,
            false => self.options.memory,
        };
        let Some(memory) = limit else {
            return Ok((choice, max_length));
        };
        if self.taken(&needs, is_streamed) > memory {
            return Err(self.too_little(&needs, &choice, memory));
        }
        let longest = match self.options.memory {
            Some(memory) => self.longest(&needs, is_streamed, memory, max_length)?,
            None => max_length,
        };
        if longest < max_length {
            choice.reason.max_length = Some(longest);
        }
        Ok((choice, longest))
    }

    fn with_text(&self, stages: &[StageMemory]) -> Vec<StageMemory> {
        let mut stages = stages.to_vec();
        for stage in &mut stages {
            stage.workspace = stage.workspace.saturating_add(self.text);
        }
        stages
    }

    fn streamed(&self, stages: &[StageMemory]) -> Vec<StageMemory> {
        let mut stages = stages.to_vec();
        for (stage, packed) in stages.iter_mut().zip(&self.packed) {
            stage.weights = stage.weights.saturating_add(*packed);
        }
        stages
    }

    fn resident(&self, stages: &[StageMemory]) -> u64 {
        let device = self.bundle.manifest().device;
        let kept = match device {
            Device::Cpu => kept(stages, self.slots),
            Device::Cuda => 0,
        };
        resident(device, stages, self.slots).saturating_add(kept)
    }

    fn needs<'s>(&self, stages: &'s [StageMemory], resident: u64, budget: Budget) -> Needs<'s> {
        let model = &self.bundle.manifest().model;
        // Hidden states are floats on the CPU, and have 16 bits elsewhere.
        let width = match self.bundle.manifest().device {
            Device::Cpu => 4,
            Device::Cuda => 2,
        };
        Needs {
            stages,
            resident,
            hidden: model.hidden_size as u64 * width,
            least: budget.max_tokens as u64,
            waiting: self.waiting,
        }
    }

    fn taken(&self, needs: &Needs<'_>, is_streamed: bool) -> u64 {
        match is_streamed {
            true => needs.least_streamed(),
            false => needs.resident,
        }
    }

    /// The most tokens of a conversation that `memory` has room for. One that is longer than the budget goes alone.
    ///
    /// What a run takes grows at least in proportion to its tokens, so that a line between two sizes is never below it.
    fn longest(
        &self,
        needs: &Needs<'_>,
        is_streamed: bool,
        memory: u64,
        max_length: usize,
    ) -> Result<usize> {
        let budget = self.options.budget;
        let shortest = budget.max_tokens;
        if self.bundle.manifest().device == Device::Cuda || max_length <= shortest {
            return Ok(max_length);
        }
        let whole = Budget::default()
            .with_max_tokens(max_length)
            .with_max_cells(budget.max_cells.max(max_length));
        let stages = costs(self.bundle, whole)?.stage_memory();
        let stages = self.with_text(&with_weights_in_place(stages, &self.in_place));
        let streamed = self.streamed(&stages);
        let most = self.needs(&streamed, self.resident(&stages), whole);
        let (least, most) = (
            self.taken(needs, is_streamed),
            self.taken(&most, is_streamed),
        );
        if most <= memory {
            return Ok(max_length);
        }
        let share = (memory - least) as f64 / (most - least) as f64;
        Ok(shortest + ((max_length - shortest) as f64 * share) as usize)
    }

    /// What was asked for cannot be kept.
    fn too_little(&self, needs: &Needs<'_>, choice: &Choice, memory: u64) -> Error {
        let manifest = self.bundle.manifest();
        let (stages, layers) = (manifest.stages.len(), manifest.model.num_hidden_layers);
        let (resident, streamed) = (Bytes(needs.resident), Bytes(needs.least_streamed()));
        let largest = choice.streamed.as_ref().map(|_| {
            let largest = (0..stages).max_by_key(|&index| needs.stages[index].total());
            largest.map_or(String::new(), |index| manifest.stages[index].graph.clone())
        });
        Error::Option {
            option: "memory",
            problem: OptionProblem::TooLittleMemory {
                memory: Bytes(memory),
                resident,
                streamed,
                largest,
                may_be_streamed: stages > 1 && streamed.0 < resident.0,
                stages: (stages, layers),
            },
        }
    }
}

/// Stages of which so many bytes of weights are read where they are.
pub(super) fn with_weights_in_place(
    mut stages: Vec<StageMemory>,
    in_place: &[u64],
) -> Vec<StageMemory> {
    for (stage, in_place) in stages.iter_mut().zip(in_place) {
        stage.weights = stage.weights.saturating_sub(*in_place);
    }
    stages
}

/// Bytes that the stages of all copies take when they are loaded: together on the CPU, else of the GPU that takes the most.
///
/// On the CPU the stages of a device give back what a run has taken, so the largest run counts. On a GPU each keeps it.
fn resident(device: Device, stages: &[StageMemory], slots: &[Vec<Slot>]) -> u64 {
    let mut devices: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for copy in slots {
        for (slot, stage) in copy.iter().zip(stages) {
            let (weights, running) = devices.entry(slot.device).or_default();
            *weights = weights.saturating_add(stage.weights);
            let run = stage.activations.saturating_add(stage.workspace);
            *running = match device {
                Device::Cpu => (*running).max(run),
                Device::Cuda => running.saturating_add(run),
            };
        }
    }
    let each = devices
        .values()
        .map(|(weights, running)| weights.saturating_add(*running));
    match device {
        Device::Cpu => each.fold(0, u64::saturating_add),
        Device::Cuda => each.max().unwrap_or(0),
    }
}

/// Bytes that loaded stages on the CPU keep while another stage of their device runs.
fn kept(stages: &[StageMemory], slots: &[Vec<Slot>]) -> u64 {
    let mut devices: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for copy in slots {
        for (slot, stage) in copy.iter().zip(stages) {
            let kept = stage.activations.min(KEPT_BYTES);
            let (all, most) = devices.entry(slot.device).or_default();
            (*all, *most) = (*all + kept, kept.max(*most));
        }
    }
    devices.values().map(|(all, most)| all - most).sum()
}

/// What the stages take and do for packs of the budget.
pub(super) fn costs(bundle: &Bundle, budget: Budget) -> Result<ModelCosts> {
    let budget = TokenBudget {
        max_tokens: budget.max_tokens as u64,
        max_cells: budget.max_cells as u64,
    };
    Ok(ModelCosts::of_bundle(
        bundle.directory(),
        bundle.manifest(),
        budget,
        DEFAULT_MEAN_LENGTH,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ep::Provider;

    #[test]
    fn memory_of_devices() {
        let stage = |&(weights, activations)| StageMemory {
            weights,
            activations,
            workspace: 1,
        };
        let stages: Vec<StageMemory> = [(10, 4), (20, 5), (30, 3)].iter().map(stage).collect();
        let on = |device| Slot {
            device,
            provider: Provider::Cpu,
        };
        let resident = |kind, copies: &[[usize; 3]]| {
            let slots: Vec<Vec<Slot>> = copies.iter().map(|copy| copy.map(on).to_vec()).collect();
            resident(kind, &stages, &slots)
        };
        assert_eq!(resident(Device::Cpu, &[[0, 0, 0]]), 60 + 6);
        assert_eq!(resident(Device::Cpu, &[[0, 0, 1]]), 30 + 6 + 30 + 4);
        assert_eq!(resident(Device::Cpu, &[[0; 3], [1; 3]]), 2 * (60 + 6));
        // Of each GPU; the second copy shares the first's devices.
        assert_eq!(resident(Device::Cuda, &[[0, 0, 1]]), 30 + 5 + 6);
        assert_eq!(
            resident(Device::Cuda, &[[0, 0, 1], [1, 0, 0]]),
            80 + 5 + 6 + 6 + 4
        );
        assert_eq!(resident(Device::Cuda, &[]), 0);
        let kept = |copies: &[[usize; 3]]| {
            let slots: Vec<Vec<Slot>> = copies.iter().map(|copy| copy.map(on).to_vec()).collect();
            kept(&stages, &slots)
        };
        assert_eq!(kept(&[[0, 0, 0]]), 4 + 3);
        assert_eq!(kept(&[[0, 1, 2]]), 0);
        assert_eq!(kept(&[[0, 0, 0], [1, 1, 0]]), 4 + 3 + 3 + 4);
    }
}
