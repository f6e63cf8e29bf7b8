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

mod kernels;
mod place;
mod tensorrt;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use crate::{
    error::{Error, Result},
    options::{Device, Target},
    proto::{ModelProto, view::View},
};
use kernels::Kernels;

/// The largest message that protobuf reads and writes.
const PROTOBUF_LIMIT: u64 = (1 << 31) - 1;
/// The most bytes of constants that are stored in a graph: it holds shapes and tables, never weights.
const INLINE_LIMIT: u64 = 1 << 20;

/// Where ONNX Runtime runs a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// By the provider of the device that the graph is for.
    Device,
    /// On the CPU, because it computes sizes that the host needs.
    Host,
}

/// A node and where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// Name of the node.
    pub node: String,
    /// Its operator, with the domain when it is not a standard one.
    pub operator: String,
    /// Type of its first output, for example `bfloat16`.
    pub element: String,
    /// Where it runs.
    pub place: Place,
}

/// A node, or a whole graph, that does not run where it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Name of the node; `None` when the graph as a whole is at fault.
    pub node: Option<String>,
    /// Its operator.
    pub operator: Option<String>,
    /// What is wrong, with the type at fault.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.node {
            write!(f, "node `{node}`")?;
            if let Some(operator) = &self.operator {
                write!(f, " ({operator})")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.problem)
    }
}

/// What was found out about a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every node of the graph, in order.
    pub placements: Vec<Placement>,
    /// What is wrong; empty when the graph is ready.
    pub violations: Vec<Violation>,
    /// The operands that kernels of the device read from the host's memory, each once: `operator.operand` and the
    /// value that is read.
    pub host_operands: Vec<(String, String)>,
    /// Size of the graph's file.
    pub bytes: u64,
    /// Bytes of the constants in it.
    pub inline_bytes: u64,
}

impl Report {
    /// Number of nodes at `place`.
    #[must_use]
    pub fn count(&self, place: Place) -> usize {
        self.placements.iter().filter(|p| p.place == place).count()
    }

    /// Nothing when the graph is ready.
    ///
    /// # Errors
    /// [`Error::NotReady`] with everything that is wrong.
    pub fn require(&self, graph: &str) -> Result<()> {
        if self.violations.is_empty() {
            return Ok(());
        }
        Err(Error::NotReady {
            graph: graph.to_owned(),
            violations: self.violations.clone(),
        })
    }
}

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
/// [`Error::Graph`] when the built-in table is broken.
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
/// [`Error::Graph`] when the model has no graph or the built-in table is broken. What is wrong with the nodes is in
/// the report: see [`Report::require`].
pub fn check(model: &ModelProto, device: Device, target: Target) -> Result<Report> {
    let kernels = Kernels::load()?;
    let view = View::new(model)?;
    let mut report = match device {
        Device::Cpu => place::on_cpu(&view, &kernels),
        Device::Cuda => place::on_cuda(&view, &kernels),
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
