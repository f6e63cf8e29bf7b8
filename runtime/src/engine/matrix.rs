//! How fast a device multiplies matrices through ONNX Runtime: what the speed of a model is measured against.

use std::time::{Duration, Instant};

use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{RunOptions, Session},
    value::{DynValue, Tensor},
};
use worldpm_ort_bundle::{
    graph::{Dim, ExternalData, Graph, GraphBuilder},
    op,
    proto::ElementType,
};

use super::{EngineError, OnnxRuntime};
use crate::ep::{Provider, bind_to_host};

const INPUT: &str = "x";
const OUTPUT: &str = "y";
/// The weights, by the names of what they do in a model.
const WEIGHTS: [&str; 2] = ["up_proj", "down_proj"];

/// Two products of matrices, as in the MLP of a model: `[rows, narrow]` to `[rows, wide]` and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MatrixSizes {
    pub(crate) rows: usize,
    pub(crate) narrow: usize,
    pub(crate) wide: usize,
    /// What is multiplied.
    pub(crate) element: ElementType,
}

/// A graph of nothing but products, loaded on a device with the threads that the process shares.
pub(crate) struct MatrixProbe {
    session: Session,
    input: DynValue,
    sizes: MatrixSizes,
    provider: Provider,
    environment: Environment,
}

impl MatrixSizes {
    /// Multiplications and additions of one run.
    pub(crate) fn flops(&self) -> u64 {
        4 * (self.rows * self.narrow * self.wide) as u64
    }

    fn graph(&self) -> worldpm_ort_bundle::Result<Graph> {
        let (narrow, wide) = (self.narrow as u64, self.wide as u64);
        let mut b = GraphBuilder::new("matrix products");
        let rows = Dim::Fixed(self.rows as u64);
        let x = b.input(INPUT, ElementType::Float, [rows, Dim::Fixed(narrow)])?;
        let mut x = op::onnx::cast(&mut b, "cast", &x, self.element)?;
        for (name, shape) in WEIGHTS.into_iter().zip([[wide, narrow], [narrow, wide]]) {
            // The values come with the session: no file is read.
            let data = ExternalData {
                location: format!("{name}.bin"),
                offset: 0,
                length: 4 * narrow * wide,
            };
            let weight = b.weight(name, ElementType::Float, &shape, data)?;
            let weight = op::onnx::cast(&mut b, &format!("{name}/cast"), &weight, self.element)?;
            x = op::onnx::gemm(&mut b, &format!("{name}/product"), &x, &weight, None)?;
        }
        b.output(&x, OUTPUT)?;
        b.finish()
    }
}

impl MatrixProbe {
    /// Loads the graph.
    ///
    /// # Errors
    /// [`EngineError::Load`] with what ONNX Runtime found wrong.
    pub(crate) fn open(
        runtime: &OnnxRuntime,
        provider: &Provider,
        sizes: MatrixSizes,
    ) -> Result<Self, EngineError> {
        let fault = |problem: String| EngineError::Load {
            stage: "the graph of matrix products".into(),
            device: provider.to_string(),
            problem,
        };
        let graph = sizes.graph().map_err(|error| fault(error.to_string()))?;
        let builder = Session::builder(runtime.environment())
            .and_then(|builder| Ok(builder.with_log_level(LogLevel::Error)?))
            .map_err(|error| fault(error.to_string()))?;
        let mut builder = provider
            .configure_products(builder, runtime.environment(), runtime.path())
            .map_err(|error| fault(error.to_string()))?;
        let open = || -> ort::Result<(Session, DynValue)> {
            let shapes = [[sizes.wide, sizes.narrow], [sizes.narrow, sizes.wide]];
            for (seed, (name, shape)) in (0..).zip(WEIGHTS.into_iter().zip(shapes)) {
                builder = builder.with_external_initializer(name, random(shape, seed)?)?;
            }
            let session = builder.commit_from_memory(&graph.to_onnx())?;
            Ok((session, random([sizes.rows, sizes.narrow], 2)?))
        };
        let (session, input) = open().map_err(|error| fault(error.to_string()))?;
        Ok(Self {
            session,
            input,
            sizes,
            provider: provider.clone(),
            environment: runtime.environment().clone(),
        })
    }

    /// Runs the products again and again for `at_least`, and returns the multiplications and additions a second of
    /// each run. What goes in and comes out stays on the device, but for what comes out of plug-in providers.
    ///
    /// # Errors
    /// [`EngineError::Run`] with what ONNX Runtime says.
    pub(crate) fn rates(&mut self, at_least: Duration) -> Result<Vec<f64>, EngineError> {
        let provider = self.provider.to_string();
        self.run(at_least).map_err(|error| EngineError::Run {
            stage: "the graph of matrix products".into(),
            device: provider,
            problem: error.to_string(),
        })
    }

    fn run(&mut self, at_least: Duration) -> ort::Result<Vec<f64>> {
        let options = RunOptions::new()?;
        let mut binding = self.session.create_binding()?;
        binding.bind_input(INPUT, &self.input)?;
        match &self.provider {
            // A run may only queue the work. What comes to the host has been computed.
            Provider::Plugin(_) => bind_to_host(&mut binding, OUTPUT)?,
            provider => provider.bind_output(&self.environment, &mut binding, OUTPUT)?,
        }
        binding.synchronize_inputs()?;
        let flops = self.sizes.flops() as f64;
        let mut rates = Vec::new();
        // The first run allocates, and counts for nothing.
        drop(self.session.run_binding_with_options(&binding, &options)?);
        let begun = Instant::now();
        while rates.is_empty() || begun.elapsed() < at_least {
            let started = Instant::now();
            drop(self.session.run_binding_with_options(&binding, &options)?);
            rates.push(flops / started.elapsed().as_secs_f64().max(1e-9));
        }
        Ok(rates)
    }
}

/// Small numbers of either sign, of which sums of products stay small too.
fn random(shape: [usize; 2], seed: u64) -> ort::Result<DynValue> {
    let mut random = fastrand::Rng::with_seed(seed);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| (random.f32() - 0.5) / 32.0)
        .collect();
    Ok(Tensor::from_array((shape.to_vec(), values))?.into_dyn())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_work_is_that_of_the_plan() {
        use worldpm_ort_bundle::{
            Device,
            cost::{Costs, RunSizes},
        };
        let sizes = MatrixSizes {
            rows: 6,
            narrow: 4,
            wide: 10,
            element: ElementType::Float,
        };
        let pack = RunSizes::of_even_rows(6, 1, 6, 1);
        let model = sizes.graph().unwrap().to_model();
        let costs = Costs::of(&model, Device::Cpu, pack).unwrap();
        assert_eq!(costs.total().flops, sizes.flops());
    }
}
