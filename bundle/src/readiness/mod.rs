//! Whether a graph will run where it is meant to, found out without that device.
//!
//! ONNX Runtime places a node on the CPU when the provider that was asked for has no kernel for its operator
//! and types, silently, and every run then copies activations back and forth. TensorRT refuses a whole model
//! for one node that it cannot parse. So every node of every graph is looked up when it is exported:
//!
//! - in the table of the kernels of ONNX Runtime's CPU or CUDA provider (`kernels.json`, see its `origin`);
//! - for [`Target::Onnx`], in what the parser of TensorRT 10.15 takes.
//!
//! On CUDA these may be on the host, and nothing else: what `Shape` and `Size` give; integers and booleans
//! computed from nothing but those, graph inputs and constants of at most 100 elements; and the operands that
//! kernels read from the host's memory (`Reshape`'s shape, `GroupQueryAttention`'s `total_sequence_length`),
//! which have to be such values, graph inputs or constants. See `docs/readiness.md`.

mod assignment;
mod kernels;
mod report;
mod tensorrt;

#[cfg(test)]
mod tests;

use serde::Serialize;

pub use crate::violation::Violation;
use crate::{
    error::Result,
    proto::{ModelProto, view::View},
    vocabulary::{Device, Target},
};
use kernels::Kernels;
pub use report::{AssignedNode, Report, RunsOn};

/// The largest message that protobuf reads and writes.
const PROTOBUF_LIMIT: u64 = (1 << 31) - 1;
/// The most bytes of constants that are stored in a graph: it holds shapes and tables, never weights.
const INLINE_LIMIT: u64 = 1 << 20;

/// Where the kernel tables come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Of the CUDA provider's kernels.
    pub cuda: String,
    /// Of the CPU provider's kernels.
    pub cpu: String,
    /// Of TensorRT's rules.
    pub tensorrt: &'static str,
}

/// The versions that the tables are of.
///
/// # Errors
/// [`Error::Graph`](crate::Error::Graph) when the built-in table is broken.
pub fn origin() -> Result<Origin> {
    let kernels = Kernels::load()?;
    Ok(Origin {
        cuda: kernels.origin.cuda,
        cpu: kernels.origin.cpu,
        tensorrt: tensorrt::ORIGIN,
    })
}

/// Looks up every node of `model`.
///
/// # Errors
/// [`Error::Graph`](crate::Error::Graph) when the model has no graph or the built-in table is broken. What is wrong with the nodes is in
/// the report: see [`Report::require`].
pub fn check(model: &ModelProto, device: Device, target: Target) -> Result<Report> {
    let kernels = Kernels::load()?;
    let view = View::new(model)?;
    let mut report = match device {
        Device::Cpu => assignment::on_cpu(&view, &kernels),
        Device::Cuda => assignment::on_cuda(&view, &kernels),
    };
    if target == Target::Onnx {
        report.violations.extend(tensorrt::check(&view, device));
    }
    report.bytes = model.bytes();
    report.inline_bytes = view.inline_bytes();
    report.violations.extend(sizes(&report));
    Ok(report)
}

fn sizes(report: &Report) -> Vec<Violation> {
    let limits = [
        (
            report.bytes,
            PROTOBUF_LIMIT,
            "the graph's file",
            "protobuf reads",
        ),
        (
            report.inline_bytes,
            INLINE_LIMIT,
            "the constants in the graph",
            "belong there; weights are kept in files",
        ),
    ];
    limits
        .into_iter()
        .filter(|(bytes, limit, _, _)| bytes > limit)
        .map(|(bytes, limit, what, why)| Violation {
            node: None,
            operator: None,
            problem: format!("{what} would have {bytes} bytes, and at most {limit} {why}"),
        })
        .collect()
}
