//! What goes into linear layers, for whoever wants to see it.

use std::{fmt, io, path::Path, sync::Arc};

use ort::{
    operator::{
        BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput,
        OperatorOutput,
    },
    value::TensorElementType,
};
use worldpm_ort_bundle::observed::{self, observe_inputs};

use super::operators::{output, required, rows};

/// Sees the inputs of a decoder's linear layers on the CPU.
pub trait LinearInputs: fmt::Debug + Send + Sync {
    /// `inputs` is `[tokens, width]`, and is multiplied with each of these weights, which have the names of the checkpoint.
    /// Called on the thread of the stage, which waits for it.
    ///
    /// # Errors
    /// What ends the run.
    fn see(&self, weights: &[&str], inputs: &[f32], width: usize) -> io::Result<()>;
}

/// The graph of the file `path` with nodes that show inputs to `seen`, and the operator of those nodes.
pub(crate) fn observe(
    graph: &[u8],
    path: &Path,
    seen: &Arc<dyn LinearInputs>,
) -> Result<(Vec<u8>, OperatorDomain), String> {
    let graph = observe_inputs(graph, path).map_err(|error| error.to_string())?;
    let domain = OperatorDomain::new(observed::DOMAIN)
        .and_then(|domain| domain.add(Observe(Arc::clone(seen))))
        .map_err(|error| error.to_string())?;
    Ok((graph, domain))
}

/// See [`observed::OBSERVE`].
struct Observe(Arc<dyn LinearInputs>);

impl Operator for Observe {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        observed::OBSERVE
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(
        &self,
        context: &KernelContext<'attr>,
    ) -> ort::Result<BoxedKernel<'attr>> {
        let seen = Arc::clone(&self.0);
        let weights = context
            .get::<String>(observed::WEIGHTS)
            .ok_or_else(|| ort::Error::new("no names of weights"))?;
        Ok(Box::new(move |context: &ComputeContext| {
            let x = required(context, 0)?;
            let (x, width) = rows(&x)?;
            let weights: Vec<&str> = weights.split(observed::SEPARATOR).collect();
            seen.see(&weights, x, width)
                .map_err(|error| ort::Error::new(error.to_string()))?;
            let mut out = output(context, [x.len() / width, width])?;
            out.try_extract_tensor_mut::<f32>()?.1.copy_from_slice(x);
            Ok(())
        }))
    }
}
