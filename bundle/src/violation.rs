//! What keeps a graph from running where it should.

use std::fmt;

use serde::Serialize;

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
