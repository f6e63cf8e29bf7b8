//! One stage as an ONNX Runtime session.

use std::{
    borrow::Cow,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use ort::{
    logging::LogLevel,
    session::{Session, SessionInputValue},
    value::{DynValue, TensorRef},
};
use worldpm_ort_export::{manifest, names};

use super::{EngineError, Flow, OnnxRuntime, Stage};
use crate::{batch::PackInputs, ep::Provider};

/// Where ONNX Runtime looks for the files that hold a graph's weights.
const EXTERNAL_DATA_FOLDER: &str = "session.model_external_initializers_file_folder_path";

/// Keeps products of unsigned and signed bytes exact on x86 processors without VNNI instructions, where ONNX Runtime's
/// kernel for them adds pairs in 16 bits, which saturate. With VNNI the kernel is exact, and this would take a slower one.
const EXACT_BYTE_PRODUCTS: &str = "session.x64quantprecision";
/// Makes floats of weights behind a `DequantizeLinear` once, at load. Else every run would make them again.
const NO_QUANTISED_GRAPHS: &str = "session.disable_quant_qdq";

/// What a stage is loaded from and with.
#[derive(Debug)]
pub(crate) struct StageSetup {
    /// The manifest's words on the stage.
    pub(crate) stage: manifest::Stage,
    /// Path of the graph file.
    pub(crate) graph: PathBuf,
    /// Folder of the weight files.
    pub(crate) weights: PathBuf,
    /// Device of the stage.
    pub(crate) provider: Provider,
    /// Threads of an operator on the CPU.
    pub(crate) threads: usize,
    /// Held while a stage computes on a device that it shares with other stages of the pipeline. Two
    /// stages that ran at once on the CPU would each want all its cores.
    pub(crate) turn: Arc<Mutex<()>>,
    /// Whether another stage uses the same device.
    pub(crate) shared: bool,
}

/// A loaded stage.
pub(crate) struct SessionStage {
    session: Session,
    setup: StageSetup,
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
        let graph = std::fs::read(&setup.graph)
            .map_err(|error| fault(format!("{}: {error}", setup.graph.display())))?;
        let weights = setup
            .weights
            .to_str()
            .ok_or_else(|| fault(format!("{} is not UTF-8", setup.weights.display())))?;
        let build = || -> ort::Result<Session> {
            let mut builder = Session::builder(runtime.environment())?
                .with_log_level(LogLevel::Error)?
                .with_intra_threads(setup.threads)?
                // Idle threads of one stage must not spin while another works.
                .with_intra_op_spinning(!setup.shared)?
                .with_config_entry(EXTERNAL_DATA_FOLDER, weights)?
                .with_config_entry(EXACT_BYTE_PRODUCTS, if has_vnni() { "0" } else { "1" })?
                .with_config_entry(NO_QUANTISED_GRAPHS, "1")?;
            if let Some(provider) = setup.provider.dispatch() {
                builder = builder
                    .with_execution_providers([provider])?
                    .with_disable_cpu_fallback()?;
            }
            builder.commit_from_memory(&graph)
        };
        let session = build().map_err(|error| fault(error.to_string()))?;
        Ok(Self { session, setup })
    }

    fn outputs(
        &mut self,
        inputs: &PackInputs,
        hidden: Option<DynValue>,
    ) -> ort::Result<Flow<DynValue>> {
        let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> =
            Vec::with_capacity(self.setup.stage.inputs.len());
        let input_ids = even(&inputs.input_ids);
        let position_ids = even(&inputs.position_ids);
        let token_cells = even(&inputs.token_cells);
        let score_tokens = even(&inputs.score_tokens);
        let tokens = input_ids.len();
        let (rows, columns) = (inputs.rows, inputs.columns);
        let mut hidden = hidden;
        for input in &self.setup.stage.inputs {
            let value: SessionInputValue<'_> = match input.name.as_str() {
                names::INPUT_IDS => tensor(vec![tokens], &input_ids)?,
                names::POSITION_IDS => tensor(vec![tokens], &position_ids)?,
                names::ROW_TOKENS => tensor(vec![rows, columns], &inputs.row_tokens)?,
                names::TOKEN_CELLS => tensor(vec![tokens], &token_cells)?,
                names::SCORE_TOKENS => tensor(vec![score_tokens.len()], &score_tokens)?,
                names::SEQLENS_K => {
                    let shape = vec![inputs.seqlens_k.len()];
                    TensorRef::from_array_view((shape, inputs.seqlens_k.as_slice()))?.into()
                }
                names::TOTAL_SEQUENCE_LENGTH => {
                    let scalar = std::slice::from_ref(&inputs.total_sequence_length);
                    TensorRef::from_array_view((Vec::<usize>::new(), scalar))?.into()
                }
                names::HIDDEN_STATES => match hidden.take() {
                    Some(hidden) => hidden.into(),
                    None => return Err(ort::Error::new("no hidden states were handed over")),
                },
                other => return Err(ort::Error::new(format!("unknown graph input {other}"))),
            };
            values.push((Cow::Owned(input.name.clone()), value));
        }
        let mut outputs = self.session.run(values)?;
        if let Some(hidden) = outputs.remove(names::NEXT_HIDDEN_STATES) {
            return Ok(Flow::Hidden(hidden));
        }
        match outputs.remove(names::SCORES) {
            Some(scores) => {
                let (_, scores) = scores.try_extract_tensor::<f32>()?;
                let each = scores.len() / score_tokens.len().max(1);
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

/// Whether the processor multiplies bytes and adds the products in 32 bits.
fn has_vnni() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512vnni")
        || std::arch::is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    return true;
}

/// `values`, the last one twice when their number is odd.
///
/// The tokens and the scores of a pack are the rows of matrix products. ONNX Runtime's kernels for quantised weights
/// work on two rows at a time, and sum a last single row in another order. With an even number of rows a score does
/// not depend on the number of tokens it is computed with. The row more reads what the last one reads, and nothing
/// reads it.
fn even(values: &[i64]) -> Cow<'_, [i64]> {
    match values.last() {
        Some(&last) if values.len() % 2 == 1 => {
            let mut values = values.to_vec();
            values.push(last);
            Cow::Owned(values)
        }
        _ => Cow::Borrowed(values),
    }
}

fn tensor<'a>(shape: Vec<usize>, data: &'a [i64]) -> ort::Result<SessionInputValue<'a>> {
    Ok(TensorRef::from_array_view((shape, data))?.into())
}

impl Stage for SessionStage {
    type Hidden = DynValue;

    fn run(
        &mut self,
        inputs: &Arc<PackInputs>,
        hidden: Option<DynValue>,
    ) -> Result<Flow<DynValue>, EngineError> {
        let turn = Arc::clone(&self.setup.turn);
        // The lock guards no data, so a holder that panicked has broken nothing.
        let guard = turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let outcome = self.outputs(inputs, hidden);
        drop(guard);
        outcome.map_err(|error| EngineError::Run {
            stage: self.name(),
            device: self.setup.provider.to_string(),
            problem: error.to_string(),
        })
    }

    fn name(&self) -> String {
        self.setup.stage.graph.clone()
    }
}
