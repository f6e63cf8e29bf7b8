//! From an opened bundle to stages at work: devices, threads, residency.

use std::sync::Arc;

use worldpm_ort_bundle::Device;

use super::{
    devices::{Placed, copies_of_streamed, placed},
    reason::{PlacementReason, ResidencyCause},
    residency::Choice,
    room::{Room, costs, with_weights_in_place},
    threads::ThreadBudgets,
};
use crate::{
    MatmulPrecision,
    batch::Budget,
    bundle::{Bundle, read_graph},
    engine::{
        Activity, BundleSource, Engine, KernelChoice, OnnxRuntime, Pipeline, StageSetup, Streamer,
        load_copies,
    },
    ep::{Provider, Slot},
    error::Result,
    host::gpu::gpus,
    options::ScorerOptions,
};

/// The stages of a bundle at work, and where.
pub(crate) struct Loaded {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) activity: Arc<Activity>,
    /// The device of each stage, for each copy of the model.
    pub(crate) providers: Vec<Vec<Provider>>,
    pub(crate) residency: Choice,
    /// Why the stages are where they are, unless that was asked for.
    pub(crate) reason: Option<PlacementReason>,
    /// What goes into a pack.
    pub(crate) budget: Budget,
    /// Most tokens of a conversation that there is memory for.
    pub(crate) max_length: usize,
    /// How exactly products with weights of few bits are computed.
    pub(crate) matmul_precision: MatmulPrecision,
}

impl Loaded {
    /// With an engine that was not made from the bundle.
    pub(crate) fn with_engine(
        engine: Arc<dyn Engine>,
        options: &ScorerOptions,
        max_length: usize,
    ) -> Self {
        Self {
            engine,
            activity: Arc::new(Activity::new(0, None)),
            providers: Vec::new(),
            residency: Choice {
                streamed: None,
                reason: ResidencyCause::OwnEngine.into(),
            },
            reason: None,
            budget: options.budget,
            max_length,
            matmul_precision: MatmulPrecision::Highest,
        }
    }
}

/// Loads the stages of a bundle, as far as they are resident. No conversation has more tokens than `max_length`.
pub(crate) fn load(bundle: &Bundle, options: &ScorerOptions, max_length: usize) -> Result<Loaded> {
    let manifest = bundle.manifest();
    let costs = costs(bundle, options.budget)?;
    let kernels = match manifest.device {
        Device::Cpu if options.kernels => KernelChoice::new(options.matmul_precision),
        _ => None,
    };
    let replaced = Replaced::find(bundle, kernels)?;
    let matmul_precision = replaced.precision(kernels);
    let in_place = replaced.in_place;
    let stages = with_weights_in_place(costs.stage_memory(), &in_place);
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
    let threads = options.threads.unwrap_or_else(|| runtime.threads());
    let room = Room::new(bundle, options, &slots, threads, free, in_place)?;
    let (residency, max_length) = room.residency(&stages, max_length)?;
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
    let work = costs.stage_work();
    let budgets = ThreadBudgets::new(
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
                threads: budgets.threads(slot),
                turn: budgets.turn(slot),
                streamed: residency.streamed.is_some(),
                shares_device: budgets.is_shared(slot),
                kernels,
                rounds_to_bf16: options.simulate_bf16,
                linear_inputs: options.linear_inputs.clone(),
                profile: options.profile.clone(),
            })
            .collect()
    };
    let engine: Arc<dyn Engine> = match &residency.streamed {
        Some(streaming) => {
            let slots = slots.first().map_or(&[][..], Vec::as_slice);
            let source = BundleSource::new(runtime, setups(slots));
            let wave = streaming.wave.clone();
            Arc::new(Streamer::start(source, wave, Arc::clone(&activity))?)
        }
        None => {
            // On the CPU loading works all cores already, and one stage at a time needs the least memory.
            let at_once = manifest.device != Device::Cpu;
            let copies: Vec<BundleSource> = slots
                .iter()
                .map(|slots| BundleSource::new(runtime.clone(), setups(slots)))
                .collect();
            let copies = load_copies(&copies, at_once, &activity)?;
            Arc::new(Pipeline::start(copies, &activity)?)
        }
    };
    Ok(Loaded {
        engine,
        activity,
        providers: devices(&slots),
        residency,
        reason,
        budget,
        max_length,
        matmul_precision,
    })
}

/// What our kernels take over.
struct Replaced {
    /// Whether there are products among it of which the options say how exact they are.
    products: bool,
    /// Whether there are products with rows of integers, whose activations are of 8 bits in any case.
    rows: bool,
    /// Of each stage, bytes of weights that they read where they are, in place of floats of twice the size.
    in_place: Vec<u64>,
}

impl Replaced {
    fn find(bundle: &Bundle, kernels: Option<KernelChoice>) -> Result<Self> {
        let manifest = bundle.manifest();
        let mut replaced = Self {
            products: false,
            rows: false,
            in_place: vec![0; manifest.stages.len()],
        };
        let Some(kernels) = kernels else {
            return Ok(replaced);
        };
        for (stage, in_place) in manifest.stages.iter().zip(&mut replaced.in_place) {
            let graph = read_graph(bundle.directory(), stage)?;
            let path = bundle.directory().join(&stage.graph);
            let fused = kernels.fuse(&graph, &path, manifest.model.head_dim)?;
            replaced.products |= fused.products > 0;
            replaced.rows |= fused.rows > 0;
            *in_place = fused.weight_bytes;
        }
        Ok(replaced)
    }

    /// How exactly the least exact products are computed.
    fn precision(&self, kernels: Option<KernelChoice>) -> MatmulPrecision {
        match (self, kernels) {
            (Self { rows: true, .. }, _) => MatmulPrecision::Medium,
            (Self { products: true, .. }, Some(kernels)) => kernels.precision(),
            _ => MatmulPrecision::Highest,
        }
    }
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
