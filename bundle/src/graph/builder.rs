//! Builds a graph node by node, in order, with unique readable names.

use std::{collections::HashSet, sync::Arc};

use super::{
    Dim, Value,
    model::{Attribute, ExternalData, Graph, Initializer, InitializerData, Node},
};
use crate::{
    error::{Error, Result},
    proto::ElementType,
};

/// A graph under construction.
///
/// Operators are added by the typed constructors of [`crate::op`], which work out the type and shape of
/// every output and refuse operands that do not fit. Names follow the scopes that are open
/// (`layers.3/self_attn/q_proj`), so that a profile or an error of ONNX Runtime points at a layer.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    graph: Graph,
    scopes: Vec<String>,
    names: HashSet<Arc<str>>,
}

impl GraphBuilder {
    /// An empty graph called `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            graph: Graph {
                name: name.into(),
                ..Graph::default()
            },
            ..Self::default()
        }
    }

    /// Runs `build` with `name` added to the scope of all names.
    ///
    /// # Errors
    /// What `build` returns.
    pub fn scope<T, E>(
        &mut self,
        name: impl Into<String>,
        build: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.scopes.push(name.into());
        let built = build(self);
        self.scopes.pop();
        built
    }

    /// Declares an input of the graph.
    ///
    /// # Errors
    /// [`Error::Graph`] when the name is taken.
    pub fn input(
        &mut self,
        name: &str,
        element: ElementType,
        shape: impl Into<Vec<Dim>>,
    ) -> Result<Value> {
        let value = self.define(name, element, shape.into())?;
        self.graph.inputs.push(value.clone());
        Ok(value)
    }

    /// Declares `value` an output of the graph and gives it the name `name`.
    ///
    /// # Errors
    /// [`Error::Graph`] when the name is taken.
    pub fn output(&mut self, value: &Value, name: &str) -> Result<()> {
        let renamed = self.define(name, value.element, value.shape.clone())?;
        for node in &mut self.graph.nodes {
            for input in node.inputs.iter_mut().flatten() {
                if *input == value.name {
                    *input = Arc::clone(&renamed.name);
                }
            }
            for output in &mut node.outputs {
                if output.name == value.name {
                    *output = renamed.clone();
                }
            }
        }
        self.graph.outputs.push(renamed);
        Ok(())
    }

    /// Adds a weight whose bytes are in another file.
    ///
    /// # Errors
    /// [`Error::Graph`] when the name is taken.
    pub fn weight(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[u64],
        data: ExternalData,
    ) -> Result<Value> {
        self.initializer(name, element, shape, InitializerData::External(data))
    }

    /// Adds a small constant of 64-bit integers, stored in the graph.
    ///
    /// # Errors
    /// [`Error::Graph`] when the scope already has a constant of this name.
    pub fn constant_i64(&mut self, name: &str, shape: &[u64], values: &[i64]) -> Result<Value> {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let name = self.scoped(name);
        self.initializer(
            &name,
            ElementType::Int64,
            shape,
            InitializerData::Inline(bytes),
        )
    }

    /// Adds a small constant of 32-bit floats, stored in the graph.
    ///
    /// # Errors
    /// [`Error::Graph`] when the scope already has a constant of this name.
    pub fn constant_f32(&mut self, name: &str, shape: &[u64], values: &[f32]) -> Result<Value> {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let name = self.scoped(name);
        self.initializer(
            &name,
            ElementType::Float,
            shape,
            InitializerData::Inline(bytes),
        )
    }

    /// The constant called `name` in every scope, made on first use.
    ///
    /// # Errors
    /// [`Error::Graph`] when another value has the name.
    pub fn shared_constant(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[u64],
        bytes: Vec<u8>,
    ) -> Result<Value> {
        let made = self.graph.initializers.iter().find(|initializer| {
            initializer.value.name() == name && initializer.value.element == element
        });
        match made {
            Some(made) => Ok(made.value.clone()),
            None => {
                let value =
                    self.initializer(name, element, shape, InitializerData::Inline(bytes))?;
                if let Some(made) = self.graph.initializers.last_mut() {
                    made.shared = true;
                }
                Ok(value)
            }
        }
    }

    /// Adds a node. Its outputs are named after it: the first by its own name, the others with `suffixes`.
    ///
    /// `None` among `inputs` leaves an optional input out.
    ///
    /// # Errors
    /// [`Error::Graph`] when the scope already has a node of this name.
    pub(crate) fn node(
        &mut self,
        name: &str,
        op: Operator,
        inputs: &[Option<&Value>],
        attributes: Vec<(&'static str, Attribute)>,
        outputs: Vec<(&'static str, ElementType, Vec<Dim>)>,
    ) -> Result<Vec<Value>> {
        let name = self.scoped(name);
        let outputs = outputs
            .into_iter()
            .map(|(suffix, element, shape)| {
                let value = if suffix.is_empty() {
                    name.clone()
                } else {
                    format!("{name}/{suffix}")
                };
                self.define(&value, element, shape)
            })
            .collect::<Result<Vec<_>>>()?;
        self.graph.nodes.push(Node {
            name,
            op_type: op.op_type,
            domain: op.domain,
            inputs: inputs
                .iter()
                .map(|input| input.map(|value| Arc::clone(&value.name)))
                .collect(),
            outputs: outputs.clone(),
            attributes,
            initializers: self.graph.initializers.len(),
        });
        Ok(outputs)
    }

    /// The finished graph, checked.
    ///
    /// # Errors
    /// [`Error::Graph`] when the graph is not well formed; see [`Graph::check`].
    pub fn finish(self) -> Result<Graph> {
        self.graph.check()?;
        Ok(self.graph)
    }

    fn scoped(&self, name: &str) -> String {
        let mut scoped = self.scopes.join("/");
        if !scoped.is_empty() {
            scoped.push('/');
        }
        scoped.push_str(name);
        scoped
    }

    fn initializer(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[u64],
        data: InitializerData,
    ) -> Result<Value> {
        let dims = shape.iter().map(|&size| Dim::Fixed(size)).collect();
        let value = self.define(name, element, dims)?;
        self.graph.initializers.push(Initializer {
            value: value.clone(),
            dims: shape.to_vec(),
            data,
            shared: false,
        });
        Ok(value)
    }

    fn define(&mut self, name: &str, element: ElementType, shape: Vec<Dim>) -> Result<Value> {
        let name: Arc<str> = name.into();
        if !self.names.insert(Arc::clone(&name)) {
            return Err(Error::Graph {
                node: name.to_string(),
                problem: "two values of the graph have this name".into(),
            });
        }
        Ok(Value {
            name,
            element,
            shape,
        })
    }
}

/// Which operator a node runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operator {
    pub(crate) op_type: &'static str,
    pub(crate) domain: &'static str,
}

impl Operator {
    /// A standard ONNX operator.
    pub(crate) const fn onnx(op_type: &'static str) -> Self {
        Self {
            op_type,
            domain: "",
        }
    }

    /// An operator of ONNX Runtime's own.
    pub(crate) const fn microsoft(op_type: &'static str) -> Self {
        Self {
            op_type,
            domain: super::model::MICROSOFT_DOMAIN,
        }
    }
}
