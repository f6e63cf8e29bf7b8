//! What is made of a stage's graph before it is loaded on the CPU.

use ort::{
    operator::OperatorDomain,
    session::{Session, builder::SessionBuilder},
    value::{DynValue, Tensor},
};
use worldpm_ort_bundle::{floats::FloatGraph, rounded::round_to_bf16};

use super::setup::StageSetup;

/// The stage's graph with results that are rounded to bfloat16.
pub(super) fn rounded(setup: &StageSetup, graph: &[u8]) -> Result<Vec<u8>, String> {
    round_to_bf16(graph, &setup.graph).map_err(|error| error_chain(&error))
}

/// The stage's graph with our operators in place of what they compute, and those operators.
pub(super) fn with_kernels(
    setup: &StageSetup,
    graph: Vec<u8>,
) -> Result<(Vec<u8>, Option<OperatorDomain>), String> {
    let Some(kernels) = setup.kernels else {
        return Ok((graph, None));
    };
    let fused = kernels
        .fuse(&graph, &setup.graph, setup.manifest.model.head_dim)
        .map_err(|error| error_chain(&error))?;
    let domain = kernels
        .operators(setup.threads.count())
        .map_err(|error| error.to_string())?;
    Ok((fused.bytes, Some(domain)))
}

/// A stage's weights, made into floats without ONNX Runtime.
pub(super) struct Floats {
    graph: Vec<u8>,
    pub(super) values: Vec<(String, DynValue)>,
}

impl Floats {
    pub(super) fn read(setup: &StageSetup, graph: &[u8]) -> Result<Self, String> {
        let threads = setup.threads.count();
        let graph = FloatGraph::from_bytes(graph, &setup.graph, &setup.weights, threads)
            .map_err(|error| error_chain(&error))?;
        let values = graph
            .read_weights(threads)
            .map_err(|error| error_chain(&error))?;
        let values = graph
            .weights
            .into_iter()
            .zip(values)
            .map(|(weight, values)| {
                let value = Tensor::from_array((weight.shape, values))?;
                Ok((weight.name, value.into_dyn()))
            });
        Ok(Self {
            graph: graph.bytes,
            values: values
                .collect::<ort::Result<_>>()
                .map_err(|error| error.to_string())?,
        })
    }

    pub(super) fn commit(self, mut builder: SessionBuilder) -> ort::Result<Session> {
        for (name, value) in self.values {
            builder = builder.with_initializer(name, value)?;
        }
        builder.commit_from_memory(&self.graph)
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", error_chain(source)),
        None => error.to_string(),
    }
}
