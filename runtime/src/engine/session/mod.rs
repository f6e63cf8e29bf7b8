//! One stage as an ONNX Runtime session.

mod graph;
mod setup;
mod threads;
mod values;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{RunOptions, Session, builder::SessionBuilder},
    value::{DynValue, Outlet, Tensor, TensorElementType},
};
use worldpm_ort_bundle::{manifest, names};

use self::{
    graph::{Floats, rounded, with_kernels},
    values::{detached, list},
};
use super::{EngineError, Failure, Flow, OnnxRuntime, Stage, Watch, linear_inputs::observe};
use crate::{
    batch::PackInputs,
    bundle::read_graph,
    ep::{Provider, StageContext, bind_to_host},
    host::memory,
};

pub(crate) use setup::StageSetup;
pub(crate) use threads::Threads;

/// Where ONNX Runtime looks for the files that hold a graph's weights.
const EXTERNAL_DATA_FOLDER: &str = "session.model_external_initializers_file_folder_path";

/// Keeps products of unsigned and signed bytes exact on x86 processors without VNNI instructions, where ONNX Runtime's
/// kernel for them adds pairs in 16 bits, which saturate. With VNNI the kernel is exact, and this would take a slower one.
const EXACT_BYTE_PRODUCTS: &str = "session.x64quantprecision";
/// Makes floats of weights behind a `DequantizeLinear` once, at load. Else every run would make them again.
const NO_QUANTISED_GRAPHS: &str = "session.disable_quant_qdq";

/// Makes a run give back what its session's arena has taken beyond the weights.
const SHRINK_ARENA: (&str, &str) = ("memory.enable_memory_arena_shrinkage", "cpu:0");

/// Profiles that were begun in this process.
static PROFILES: AtomicU64 = AtomicU64::new(0);

/// A loaded stage.
pub(crate) struct SessionStage {
    session: Session,
    setup: StageSetup,
    environment: Environment,
}

impl SessionStage {
    /// Loads a stage.
    ///
    /// # Errors
    /// [`EngineError::Load`] says which stage and what ONNX Runtime found wrong.
    pub(crate) fn load(runtime: &OnnxRuntime, setup: StageSetup) -> Result<Self, EngineError> {
        let fault = |problem: String| EngineError::Load {
            stage: setup.stage.graph.clone(),
            device: setup.provider.to_string(),
            problem,
        };
        let checked = |error: crate::Error| fault(error.to_string());
        setup.weight_files.require_unchanged().map_err(checked)?;
        let graph = read_graph(&setup.bundle, &setup.stage).map_err(checked)?;
        let weights = setup
            .weights
            .to_str()
            .ok_or_else(|| fault(format!("{} is not UTF-8", setup.weights.display())))?;
        let graph = match setup.provider {
            Provider::Cpu if setup.rounds_to_bf16 => rounded(&setup, &graph).map_err(&fault)?,
            _ => graph,
        };
        let (graph, observing) = match (&setup.provider, &setup.linear_inputs) {
            (Provider::Cpu, Some(seen)) => {
                let (graph, domain) = observe(&graph, &setup.graph, seen).map_err(&fault)?;
                (graph, Some(domain))
            }
            _ => (graph, None),
        };
        let (graph, domain) = match setup.provider {
            Provider::Cpu => with_kernels(&setup, graph).map_err(&fault)?,
            _ => (graph, None),
        };
        let floats = match setup.provider {
            Provider::Cpu if setup.streamed => Some(Floats::read(&setup, &graph).map_err(&fault)?),
            _ => None,
        };
        let context = StageContext {
            stage: &setup.stage,
            manifest: &setup.manifest,
            bundle: &setup.bundle,
            graph: &setup.graph,
            weights: &setup.weights,
            budget: setup.budget,
            max_length: setup.max_length,
            environment: runtime.environment(),
            library: runtime.path(),
            library_version: runtime.version(),
        };
        let build = || -> ort::Result<SessionBuilder> {
            let builder = Session::builder(runtime.environment())?
                .with_log_level(LogLevel::Error)?
                // A pattern is kept for every shape and taken for others with the same key, which it does not fit.
                .with_memory_pattern(false)?
                .with_config_entry(EXACT_BYTE_PRODUCTS, if has_vnni() { "0" } else { "1" })?
                .with_config_entry(NO_QUANTISED_GRAPHS, "1")?;
            let mut builder = setup.threads.configure(builder)?;
            for domain in [domain, observing].into_iter().flatten() {
                builder = builder.with_operators(domain)?;
            }
            if let Some(folder) = &setup.profile {
                // Besides the prefix a file's name has the time to the second only.
                let number = PROFILES.fetch_add(1, Ordering::Relaxed);
                let name = setup.stage.graph.replace(['/', '.'], "-");
                builder = builder.with_profiling(folder.join(format!("{name}-{number}")))?;
            }
            if setup.provider.loads_by_path() {
                return Ok(builder);
            }
            Ok(builder.with_config_entry(EXTERNAL_DATA_FOLDER, weights)?)
        };
        let builder = build().map_err(|error| fault(error.to_string()))?;
        let builder = setup
            .provider
            .configure(builder, &context)
            .map_err(|error| fault(error.to_string()))?;
        let session = match floats {
            Some(floats) if !floats.values.is_empty() => floats
                .commit(builder)
                .map_err(|error| fault(error.to_string()))?,
            _ => setup
                .provider
                .commit(builder, &context, &graph)
                .map_err(|error| fault(error.to_string()))?,
        };
        for (session, listed) in [
            (session.inputs(), &setup.stage.inputs),
            (session.outputs(), &setup.stage.outputs),
        ] {
            check_edges(session, listed).map_err(&fault)?;
        }
        Ok(Self {
            session,
            setup,
            environment: runtime.environment().clone(),
        })
    }

    /// Runs a pack. `options` can end the run early.
    fn outputs(
        &mut self,
        inputs: &PackInputs,
        hidden: Option<DynValue>,
        options: &RunOptions,
    ) -> ort::Result<Flow<DynValue>> {
        let mut binding = self.session.create_binding()?;
        let mut hidden = hidden;
        let mut scored = 0;
        for input in &self.setup.stage.inputs {
            let value: DynValue = match input.name.as_str() {
                names::INPUT_IDS => list(&inputs.input_ids)?,
                names::POSITION_IDS => list(&inputs.position_ids)?,
                names::ROW_TOKENS => {
                    let shape = vec![inputs.rows, inputs.columns];
                    Tensor::from_array((shape, inputs.row_tokens.clone()))?.into_dyn()
                }
                names::TOKEN_CELLS => list(&inputs.token_cells)?,
                names::SCORE_TOKENS => {
                    scored = inputs.score_tokens.len().next_multiple_of(2);
                    list(&inputs.score_tokens)?
                }
                names::SEQLENS_K => {
                    let shape = vec![inputs.seqlens_k.len()];
                    Tensor::from_array((shape, inputs.seqlens_k.clone()))?.into_dyn()
                }
                names::TOTAL_SEQUENCE_LENGTH => {
                    let scalar = vec![inputs.total_sequence_length];
                    Tensor::from_array((Vec::<usize>::new(), scalar))?.into_dyn()
                }
                names::HIDDEN_STATES => hidden
                    .take()
                    .ok_or_else(|| ort::Error::new("no hidden states were handed over"))?,
                other => return Err(ort::Error::new(format!("unknown graph input {other}"))),
            };
            binding.bind_input(input.name.as_str(), &value)?;
        }
        for output in &self.setup.stage.outputs {
            let name = output.name.as_str();
            match name {
                // Hidden states stay where they are made: the next stage's session copies them if it is elsewhere.
                names::NEXT_HIDDEN_STATES if !self.setup.streamed => self
                    .setup
                    .provider
                    .bind_output(&self.environment, &mut binding, name)?,
                _ => bind_to_host(&mut binding, name)?,
            }
        }
        binding.synchronize_inputs()?;
        let mut outputs = self.session.run_binding_with_options(&binding, options)?;
        self.setup.provider.wait_for_outputs(&binding)?;
        if let Some(hidden) = outputs.remove(names::NEXT_HIDDEN_STATES) {
            return Ok(Flow::Hidden(match self.setup.streamed {
                true => detached(&hidden)?,
                false => hidden,
            }));
        }
        match outputs.remove(names::SCORES) {
            Some(scores) => {
                let (_, scores) = scores.try_extract_tensor::<f32>()?;
                let each = scores.len() / scored.max(1);
                let asked = each * inputs.score_tokens.len();
                Ok(Flow::Scores(
                    scores.get(..asked).unwrap_or_default().to_vec(),
                ))
            }
            None => Err(ort::Error::new(
                "the graph has no output that is known here",
            )),
        }
    }
}

impl SessionStage {
    fn run_options(&self) -> ort::Result<RunOptions> {
        let mut options = RunOptions::new()?;
        if self.setup.shares_device && self.setup.provider == Provider::Cpu {
            let (key, value) = SHRINK_ARENA;
            options.set(key, value)?;
        }
        Ok(options)
    }

    /// What a problem of a run means for the stage.
    fn failure(&self, problem: String) -> Failure {
        let fatal = self.setup.provider.is_lost(&problem);
        let stage = self.setup.stage.graph.clone();
        let device = self.setup.provider.to_string();
        let error = match fatal {
            false => EngineError::Run {
                stage,
                device,
                problem,
            },
            true => EngineError::Lost {
                stage,
                device,
                problem,
            },
        };
        Failure { error, fatal }
    }
}

impl Drop for SessionStage {
    fn drop(&mut self) {
        if self.setup.profile.is_some() {
            // Without its profile a stage has still done its work.
            let _ = self.session.end_profiling();
        }
    }
}

/// Whether a graph has the inputs, or the outputs, that the manifest lists.
fn check_edges(session: &[Outlet], listed: &[manifest::TensorInfo]) -> Result<(), String> {
    let element = |outlet: &Outlet| match outlet.dtype().tensor_type() {
        Some(TensorElementType::Int64) => "int64",
        Some(TensorElementType::Int32) => "int32",
        Some(TensorElementType::Float32) => "float",
        Some(TensorElementType::Float16) => "float16",
        Some(TensorElementType::Bfloat16) => "bfloat16",
        _ => "of another type",
    };
    let mut found: Vec<(&str, &str)> = session.iter().map(|o| (o.name(), element(o))).collect();
    let mut expected: Vec<(&str, &str)> = listed
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor.element.as_str()))
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "the graph has {found:?} where the manifest lists {expected:?}; export the checkpoint again"
    ))
}

/// Whether the processor multiplies bytes and adds the products in 32 bits.
fn has_vnni() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512vnni")
        || std::arch::is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    return true;
}

impl Stage for SessionStage {
    type Hidden = DynValue;

    fn run(
        &mut self,
        inputs: &Arc<PackInputs>,
        hidden: Option<DynValue>,
        watch: &dyn Watch,
    ) -> Result<Flow<DynValue>, Failure> {
        let turn = Arc::clone(&self.setup.turn);
        // The lock guards no data, so a holder that panicked has broken nothing.
        let guard = turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let options = match self.run_options() {
            Ok(options) => Arc::new(options),
            Err(error) => return Err(self.failure(error.to_string())),
        };
        let handle = Arc::clone(&options);
        // A run that cannot be ended early ends by itself.
        if !watch.begin(Box::new(move || drop(handle.terminate()))) {
            return Err(EngineError::Cancelled.into());
        }
        let outcome = self.outputs(inputs, hidden, &options);
        watch.end();
        drop(guard);
        outcome.map_err(|error| self.failure(error.to_string()))
    }

    fn settle(&mut self) {
        if let Threads::Own { cores, .. } = &self.setup.threads
            && let Some(&core) = cores.first()
        {
            memory::pin_thread(core);
        }
    }

    fn name(&self) -> String {
        self.setup.stage.graph.clone()
    }
}
