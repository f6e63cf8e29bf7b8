//! From an opened bundle to stages at work: devices, threads, residency.

use std::{collections::BTreeMap, sync::Arc};

use worldpm_ort_export::{
    Device, Manifest,
    plan::{Bytes, Fleet, PlanOptions, Prepared, StageMemory, TokenBudget},
};

use crate::{
    batch::Budget,
    bundle::Bundle,
    device::gpus,
    engine::{
        Activity, BundleSource, Engine, OnnxRuntime, Pipeline, StageSetup, Streamer, load_copies,
    },
    ep::{Provider, Slot},
    error::{Error, Result},
    machine::Machine,
    memory,
    options::ScorerOptions,
    placement::{Placed, copies_of_streamed, placed},
    residency::{Choice, Needs},
};

/// The stages of a bundle at work, and where.
pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    pub(crate) activity: Arc<Activity>,
    /// The device of each stage, for each copy of the model.
    pub(crate) providers: Vec<Vec<Provider>>,
    pub(crate) residency: Choice,
    /// Why the stages are where they are, unless that was asked for.
    pub(crate) reason: Option<String>,
    /// What goes into a pack.
    pub(crate) budget: Budget,
}

/// Loads the stages of a bundle, as far as they are resident. No conversation has more tokens than `max_length`.
pub(crate) fn load(bundle: &Bundle, options: &ScorerOptions, max_length: usize) -> Result<Loaded> {
    let manifest = bundle.manifest();
    let costs = costs(bundle, options)?;
    let stages = costs.stage_memory();
    let Placed {
        mut slots,
        reason,
        free,
    } = placed(manifest, options, &stages, gpus)?;
    let providers = slots.iter_mut().flatten().map(|slot| &mut slot.provider);
    options.providers.apply(providers)?;
    let budget = bounded(&slots, options.budget, max_length);
    let runtime = OnnxRuntime::load(options.ort_library.as_deref(), options.threads)?;
    runtime.require(&manifest.min_ort_version)?;
    let residency = residency(manifest, options, &stages, &slots, free)?;
    if residency.streamed.is_some() {
        if slots.len() > 1 {
            return Err(copies_of_streamed());
        }
        if manifest.device == Device::Cpu {
            // One stage works at a time, with all the threads.
            slots.iter_mut().flatten().for_each(|slot| slot.device = 0);
        }
    }
    let activity = Arc::new(Activity::new(
        manifest.stages.len(),
        options.observer.clone(),
    ));
    let threads = options.threads.unwrap_or_else(|| runtime.threads());
    let work = costs.stage_work();
    let machine = Machine::new(
        &slots,
        &work,
        threads,
        runtime.threads(),
        options.pin_threads,
    )?;
    let shared_manifest = Arc::new(manifest.clone());
    let setups = |slots: &[Slot]| -> Vec<StageSetup> {
        let stages = manifest.stages.iter().zip(slots);
        stages
            .map(|(stage, slot)| StageSetup {
                graph: bundle.directory().join(&stage.graph),
                weights: bundle.stage_weights(stage),
                weight_files: Arc::clone(bundle.weight_files()),
                stage: stage.clone(),
                manifest: Arc::clone(&shared_manifest),
                bundle: bundle.directory().to_owned(),
                budget,
                max_length,
                provider: slot.provider.clone(),
                threads: machine.threads(slot),
                turn: machine.turn(slot),
                streamed: residency.streamed.is_some(),
                shares_device: machine.is_shared(slot),
                profile: options.profile.clone(),
            })
            .collect()
    };
    let engine = match &residency.streamed {
        Some(streaming) => {
            let slots = slots.first().map_or(&[][..], Vec::as_slice);
            let source = BundleSource::new(runtime, setups(slots));
            let wave = streaming.wave.clone();
            Engine::Streamed(Streamer::start(source, wave, Arc::clone(&activity))?)
        }
        None => {
            // On the CPU loading works all cores already, and one stage at a time needs the least memory.
            let at_once = manifest.device != Device::Cpu;
            let copies: Vec<BundleSource> = slots
                .iter()
                .map(|slots| BundleSource::new(runtime.clone(), setups(slots)))
                .collect();
            let copies = load_copies(&copies, at_once, &activity)?;
            Engine::Resident(Pipeline::start(copies, &activity)?)
        }
    };
    Ok(Loaded {
        engine,
        activity,
        providers: devices(&slots),
        residency,
        reason,
        budget,
    })
}

/// The budget that all providers can keep to.
fn bounded(slots: &[Vec<Slot>], budget: Budget, max_length: usize) -> Budget {
    let providers = slots.iter().flatten().map(|slot| &slot.provider);
    providers.fold(budget, |budget, provider| {
        provider.bound(budget, max_length)
    })
}

fn devices(slots: &[Vec<Slot>]) -> Vec<Vec<Provider>> {
    let copy = |slots: &Vec<Slot>| slots.iter().map(|slot| slot.provider.clone()).collect();
    slots.iter().map(copy).collect()
}

/// How much of the model is in memory.
fn residency(
    manifest: &Manifest,
    options: &ScorerOptions,
    stages: &[StageMemory],
    slots: &[Vec<Slot>],
    free: Option<u64>,
) -> Result<Choice> {
    let host = memory::available();
    // Hidden states are floats on the CPU, and have 16 bits elsewhere.
    let (available, waiting, width) = match manifest.device {
        Device::Cpu => (options.memory.or(host), None, 4),
        Device::Cuda => {
            let of_each = options.memory.into_iter().chain(free).min();
            (of_each, host.map(|bytes| bytes / 2), 2)
        }
    };
    let needs = Needs {
        stages,
        resident: resident(manifest.device, stages, slots),
        hidden: manifest.model.hidden_size as u64 * width,
        least: options.budget.max_tokens as u64,
        waiting,
    };
    let choice = options.residency.choose(&needs, available);
    if let (Some(_), Some(memory)) = (&choice.streamed, available) {
        check_largest(manifest, stages, memory)?;
    }
    Ok(choice)
}

/// Bytes that the stages of all copies take when they are loaded: together on the CPU, else of the GPU that takes the most.
///
/// On the CPU the stages of a device give back what a run has taken, so the largest run counts. On a GPU each keeps it.
fn resident(device: Device, stages: &[StageMemory], slots: &[Vec<Slot>]) -> u64 {
    let mut devices: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for copy in slots {
        for (slot, stage) in copy.iter().zip(stages) {
            let (weights, running) = devices.entry(slot.device).or_default();
            *weights += stage.weights;
            let run = stage.activations + stage.workspace;
            *running = match device {
                Device::Cpu => (*running).max(run),
                Device::Cuda => *running + run,
            };
        }
    }
    let each = devices.values().map(|(weights, running)| weights + running);
    match device {
        Device::Cpu => each.sum(),
        Device::Cuda => each.max().unwrap_or(0),
    }
}

/// A stage that does not fit by itself cannot be streamed.
fn check_largest(manifest: &Manifest, stages: &[StageMemory], memory: u64) -> Result<()> {
    let largest = stages
        .iter()
        .enumerate()
        .max_by_key(|(_, stage)| stage.total());
    match largest {
        Some((index, stage)) if stage.total() > memory => Err(Error::Option {
            option: "memory",
            problem: format!(
                "{} takes {} by itself and there are {}; export the checkpoint again with more stages than {} \
                 (up to one for each of its {} layers), or give a lower token budget",
                manifest.stages[index].graph,
                Bytes(stage.total()),
                Bytes(memory),
                manifest.stages.len(),
                manifest.model.num_hidden_layers,
            ),
        }),
        _ => Ok(()),
    }
}

/// What the stages take and do for packs of the budget.
fn costs(bundle: &Bundle, options: &ScorerOptions) -> Result<Prepared> {
    let mut plan = PlanOptions::new(Fleet::Memory(worldpm_ort_export::plan::DeviceMemory::List(
        Vec::new(),
    )));
    plan.budget = TokenBudget {
        max_tokens: options.budget.max_tokens as u64,
        max_cells: options.budget.max_cells as u64,
    };
    Ok(Prepared::bundle(bundle.directory(), &plan)?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
