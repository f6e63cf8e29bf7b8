//! How a stage's session gets its provider: all that is particular to one.

use std::{path::Path, time::Duration};

use ort::{
    environment::Environment,
    session::{Session, builder::SessionBuilder},
};
use worldpm_ort_bundle::Bytes;

use super::{
    NodeAssignment, Provider, ProviderError, StageContext, progress::reporting, tensorrt, unusable,
};
use crate::{batch::Budget, host::memory::ProcessMemory};

/// Makes ONNX Runtime note which provider each node was given to.
const RECORD_PLACEMENT: &str = "session.record_ep_graph_assignment_info";

const DISABLE_CPU_FALLBACK: &str = "session.disable_cpu_ep_fallback";

/// How often a stage that is loaded, or an engine that is built, is reported.
const PROGRESS: Duration = Duration::from_secs(30);

impl Provider {
    /// Whether the stage has to be loaded from its file, with the weights beside it, and not from memory.
    pub(crate) fn loads_by_path(&self) -> bool {
        matches!(self, Self::TensorRt(_))
    }

    /// The budget that the provider can keep to: TensorRT is built for a largest shape.
    pub(crate) fn bound(&self, budget: Budget, max_length: usize) -> Budget {
        match self {
            Self::TensorRt(_) => tensorrt::bound(budget, max_length),
            Self::Cpu | Self::Cuda(_) | Self::Plugin(_) => budget,
        }
    }

    /// Registers the provider, and forbids ONNX Runtime to put nodes on the CPU instead.
    ///
    /// # Errors
    /// What the bundle or the machine lacks for the provider, and what to do.
    pub(crate) fn configure(
        &self,
        builder: SessionBuilder,
        context: &StageContext<'_>,
    ) -> Result<SessionBuilder, ProviderError> {
        let explain = |error: ort::Error<SessionBuilder>| {
            unusable::explain(self, context, &error.to_string())
        };
        let builder = match self {
            Self::Cpu => return Ok(builder),
            Self::Cuda(options) => builder
                .with_execution_providers([options.dispatch()])
                .map_err(explain)?,
            Self::TensorRt(options) => {
                options.check(context)?;
                let providers = options.dispatch(context)?;
                builder
                    .with_execution_providers(providers)
                    .map_err(explain)?
            }
            Self::Plugin(options) => {
                options.configure(builder, context.environment, context.library)?
            }
        };
        builder
            .with_disable_cpu_fallback()
            .map_err(explain)?
            .with_config_entry(RECORD_PLACEMENT, "1")
            .map_err(explain)
    }

    /// Registers the provider for a graph of nothing but matrix products, to measure the rate of the device: for TensorRT,
    /// CUDA on the same GPU.
    ///
    /// # Errors
    /// What the machine lacks for the provider.
    pub(crate) fn configure_products(
        &self,
        builder: SessionBuilder,
        environment: &Environment,
        library: &Path,
    ) -> Result<SessionBuilder, ProviderError> {
        let runtime = |error: ort::Error<SessionBuilder>| ProviderError::Runtime(error.to_string());
        let builder = match self {
            Self::Cpu => return Ok(builder),
            Self::Cuda(options) => builder.with_execution_providers([options.dispatch()]),
            Self::TensorRt(options) => builder.with_execution_providers([options.cuda.dispatch()]),
            Self::Plugin(options) => Ok(options.configure(builder, environment, library)?),
        };
        builder
            .and_then(SessionBuilder::with_disable_cpu_fallback)
            .map_err(runtime)
    }

    /// Loads the stage with a builder that was configured. What takes long is reported meanwhile.
    ///
    /// `graph` holds the bytes of the graph's file, for providers that load from memory.
    ///
    /// # Errors
    /// As [`Provider::configure`], and what ONNX Runtime says of the graph.
    pub(crate) fn commit(
        &self,
        mut builder: SessionBuilder,
        context: &StageContext<'_>,
        graph: &[u8],
    ) -> Result<Session, ProviderError> {
        let going_on = |elapsed: Duration| {
            let memory = ProcessMemory::read().map_or_else(String::new, |memory| {
                format!("; {} of host memory in use", Bytes(memory.resident))
            });
            let seconds = elapsed.as_secs();
            tracing::info!(
                "{} on {self}: still not loaded after {seconds} s{memory}",
                context.stage.graph
            );
        };
        let session = reporting(PROGRESS, going_on, || match self {
            Self::TensorRt(options) => options.commit(builder, context),
            Self::Cpu | Self::Cuda(_) | Self::Plugin(_) => {
                builder.commit_from_memory(graph).map_err(|error| {
                    let refused = refused_nodes(builder, context, graph, error.message());
                    ProviderError::Runtime(refused.unwrap_or_else(|| error.to_string()))
                })
            }
        });
        let session = session.map_err(|error| match error {
            ProviderError::Runtime(problem) => unusable::explain(self, context, &problem),
            other => other,
        })?;
        if *self != Self::Cpu
            && let Some(assignment) = NodeAssignment::of(&session, context.library)
        {
            tracing::info!("{} on {self}: {assignment}", context.stage.graph);
            // ONNX Runtime takes CUDA for what TensorRT leaves, and would say nothing.
            if let (Self::TensorRt(_), Some(nodes)) = (self, assignment.besides_tensorrt()) {
                let problem = format!("{}: {nodes}", tensorrt::NODES_ELSEWHERE);
                return Err(unusable::explain(self, context, &problem));
            }
        }
        Ok(session)
    }
}

/// Which nodes the provider does not take, for a stage that was refused because of them. Loads it once more, with those on
/// the CPU. `None` where the refusal has another reason, or ONNX Runtime does not report it.
fn refused_nodes(
    builder: SessionBuilder,
    context: &StageContext<'_>,
    graph: &[u8],
    problem: &str,
) -> Option<String> {
    if !problem.contains(unusable::NODES_ON_CPU) {
        return None;
    }
    let session = builder
        .with_config_entry(DISABLE_CPU_FALLBACK, "0")
        .ok()?
        .commit_from_memory(graph)
        .ok()?;
    let nodes = NodeAssignment::of(&session, context.library)?.on_cpu()?;
    Some(format!("{}: {nodes}", unusable::NODES_ON_CPU))
}
