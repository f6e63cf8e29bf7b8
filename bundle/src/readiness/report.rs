//! What is found out about a graph.

use serde::Serialize;

use crate::{
    error::{Error, Result},
    violation::Violation,
};

/// Where ONNX Runtime runs a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunsOn {
    /// By the provider of the device that the graph is for.
    Device,
    /// On the CPU, because it computes sizes that the host needs.
    Host,
}

/// A node and where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AssignedNode {
    /// Name of the node.
    pub node: String,
    /// Its operator, with the domain when it is not a standard one.
    pub operator: String,
    /// Type of its first output, for example `bfloat16`.
    pub element: String,
    /// Where it runs.
    pub place: RunsOn,
}

/// What was found out about a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every node of the graph, in order.
    pub placements: Vec<AssignedNode>,
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
    pub fn count(&self, place: RunsOn) -> usize {
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
