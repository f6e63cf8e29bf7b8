//! What flows along the edges of a graph: named, typed and shaped values.

use std::{fmt, sync::Arc};

use crate::proto::ElementType;

/// One dimension of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A size fixed by the checkpoint.
    Fixed(u64),
    /// A size known only at run time; the same name is the same size everywhere in a graph.
    Named(&'static str),
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// A handle to a value of the graph under construction.
#[derive(Clone, Debug)]
pub struct Value {
    pub(crate) name: Arc<str>,
    pub(crate) element: ElementType,
    pub(crate) shape: Vec<Dim>,
}

impl Value {
    /// Name of the value, unique in its graph.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Element type.
    #[must_use]
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Shape.
    #[must_use]
    pub fn shape(&self) -> &[Dim] {
        &self.shape
    }

    /// The last dimension, when it is fixed.
    #[must_use]
    pub fn width(&self) -> Option<u64> {
        match self.shape.last() {
            Some(Dim::Fixed(size)) => Some(*size),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}[", self.name, self.element)?;
        for (i, dim) in self.shape.iter().enumerate() {
            write!(f, "{}{dim}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}
