//! From an opened bundle to stages at work: devices, threads, residency.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use worldpm_ort_export::{
    Device, Manifest,
    plan::{Bytes, Fleet, PlanOptions, Prepared, StageMemory, TokenBudget},
};

use crate::{
    batch::Budget,
    bundle::Bundle,
    device::gpus,
    engine::{
        Activity, BundleSource, Engine, OnnxRuntime, Pipeline, StageSetup, Streamer, Threads,
    },
    ep::{Provider, Slot},
    error::{Error, Result},
    memory,
    options::ScorerOptions,
    placement::{Placed, placed},
    residency::{Choice, Needs},
};

/// The stages of a bundle at work, and where.
pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    pub(crate) activity: Arc<Activity>,
    /// The device of each stage, of the first copy of the model.
    pub(crate) providers: Vec<Provider>,
    pub(crate) residency: Choice,
    /// Why the stages are where they are, unless that was asked for.
    pub(crate) reason: Option<String>,
    /// What goes into a pack.
    pub(crate) budget: Budget,
}

/// Loads the stages of a bundle, as far as they are resident. No conversation has more tokens than `max_length`.
pub(crate) fn load(bundle: &Bundle, options: &ScorerOptions, max_length: usize) -> Result<Loaded> {
    let manifest = bundle.manifest();
    let stages = stage_memory(bundle, options)?;
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
    let residency = residency(manifest, options, &stages, slots.len(), free)?;
    if residency.streamed.is_some() && slots.len() > 1 {
        return Err(Error::Option {
            option: "replicas",
            problem: "copies of a model that is streamed would only wait for each other; leave the option out".into(),
        });
    }
    let activity = Arc::new(Activity::new(
        manifest.stages.len(),
        options.observer.clone(),
    ));
    let threads = options.threads.unwrap_or_else(|| runtime.threads());
    let machine = Machine::new(&slots, threads, runtime.threads(), options.pin_threads);
    let shared_manifest = Arc::new(manifest.clone());
    let setups = |slots: &[Slot]| -> Vec<StageSetup> {
        let stages = manifest.stages.iter().zip(slots);
        stages
            .map(|(stage, slot)| StageSetup {
                graph: bundle.directory().join(&stage.graph),
                weights: bundle.stage_weights(stage),
                stage: stage.clone(),
                manifest: Arc::clone(&shared_manifest),
                bundle: bundle.directory().to_owned(),
                budget,
                max_length,
                provider: slot.provider.clone(),
                threads: machine.threads(slot),
                turn: machine.turn(slot),
                streamed: residency.streamed.is_some(),
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
            let copies = slots.iter().enumerate().map(|(replica, slots)| {
                let source = BundleSource::new(runtime.clone(), setups(slots));
                source.load_all(replica, at_once, &activity)
            });
            let copies = copies.collect::<Result<Vec<_>, _>>()?;
            Engine::Resident(Pipeline::start(copies, &activity)?)
        }
    };
    Ok(Loaded {
        engine,
        activity,
        providers: first_copy(&slots),
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

fn first_copy(slots: &[Vec<Slot>]) -> Vec<Provider> {
    let first = slots.first().into_iter().flatten();
    first.map(|slot| slot.provider.clone()).collect()
}

/// How much of the model is in memory.
fn residency(
    manifest: &Manifest,
    options: &ScorerOptions,
    stages: &[StageMemory],
    copies: usize,
    free: Option<u64>,
) -> Result<Choice> {
    let host = memory::available();
    // Hidden states are floats on the CPU, and have 16 bits elsewhere.
    let (available, waiting, width) = match manifest.device {
        Device::Cpu => {
            let available = options.memory.or(host);
            (available.map(|bytes| bytes / copies.max(1) as u64), None, 4)
        }
        Device::Cuda => (options.memory.or(free), host.map(|bytes| bytes / 2), 2),
    };
    let needs = Needs {
        stages,
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

/// What each stage takes for the largest pack of the budget.
fn stage_memory(bundle: &Bundle, options: &ScorerOptions) -> Result<Vec<StageMemory>> {
    let mut plan = PlanOptions::new(Fleet::Memory(worldpm_ort_export::plan::DeviceMemory::List(
        Vec::new(),
    )));
    plan.budget = TokenBudget {
        max_tokens: options.budget.max_tokens as u64,
        max_cells: options.budget.max_cells as u64,
    };
    Ok(Prepared::bundle(bundle.directory(), &plan)?.stage_memory())
}

/// The devices in use, and what of the host each of them gets.
struct Machine {
    /// One for each device: stages that share it take turns.
    turns: Vec<Arc<Mutex<()>>>,
    /// Threads of each device on the CPU when there are several; none when one has those of the process.
    shares: Vec<Threads>,
}

impl Machine {
    fn new(slots: &[Vec<Slot>], threads: NonZeroUsize, shared: NonZeroUsize, pin: bool) -> Self {
        let devices = slots.iter().flatten().map(|slot| slot.device + 1).max();
        let devices = devices.unwrap_or(0);
        let on_cpu = slots
            .iter()
            .flatten()
            .any(|slot| slot.provider == Provider::Cpu);
        let cores = if pin { memory::cores() } else { Vec::new() };
        let shares = (0..devices)
            .map(|device| {
                if devices == 1 && threads == shared && cores.is_empty() || !on_cpu {
                    return Threads::Shared(shared);
                }
                let part = |total: usize| device * total / devices..(device + 1) * total / devices;
                Threads::Own {
                    count: NonZeroUsize::new(part(threads.get()).len())
                        .unwrap_or(NonZeroUsize::MIN),
                    cores: cores.get(part(cores.len())).unwrap_or_default().to_vec(),
                }
            })
            .collect();
        Self {
            turns: (0..devices).map(|_| Arc::default()).collect(),
            shares,
        }
    }

    fn threads(&self, slot: &Slot) -> Threads {
        self.shares[slot.device].clone()
    }

    fn turn(&self, slot: &Slot) -> Arc<Mutex<()>> {
        Arc::clone(&self.turns[slot.device])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ep::Devices;

    fn shares(devices: &str, stages: usize, threads: usize) -> Vec<Threads> {
        let devices: Devices = devices.parse().unwrap();
        let slots = devices.slots(Device::Cpu, stages, 1).unwrap();
        let number = |n| NonZeroUsize::new(n).unwrap();
        Machine::new(&slots, number(threads), number(4), false).shares
    }

    fn own(count: usize) -> Threads {
        Threads::Own {
            count: NonZeroUsize::new(count).unwrap(),
            cores: Vec::new(),
        }
    }

    #[test]
    fn one_device_has_the_threads_of_the_process() {
        let four = NonZeroUsize::new(4).unwrap();
        assert_eq!(shares("cpu", 3, 4), [Threads::Shared(four)]);
        // Unless another number is wanted than the process has.
        assert_eq!(shares("cpu", 3, 2), [own(2)]);
    }

    #[test]
    fn several_devices_on_the_cpu_share_its_threads() {
        assert_eq!(shares("cpu,cpu", 2, 4), [own(2), own(2)]);
        assert_eq!(shares("cpu,cpu,cpu", 3, 4), [own(1), own(1), own(2)]);
        assert_eq!(shares("cpu,cpu,cpu", 3, 2), [own(1), own(1), own(1)]);
    }
}
