//! The kernels that ONNX Runtime's providers have.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    error::{Error, Result},
    proto::{
        NodeProto,
        view::{View, operator},
    },
};

/// Written by `scripts/make-kernel-tables.py`.
const TABLE: &str = include_str!("kernels.json");

/// The table.
#[derive(Debug, Deserialize)]
pub(super) struct Kernels {
    pub(super) origin: TableOrigin,
    /// Version of the standard operators that the table is for.
    pub(super) opset: i64,
    operators: BTreeMap<String, Operator>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TableOrigin {
    pub(super) cuda: String,
    pub(super) cpu: String,
}

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    Cpu,
    Cuda,
}

impl Provider {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Cuda => "CUDA",
        }
    }
}

/// An operator and its kernels.
#[derive(Debug, Deserialize)]
pub(super) struct Operator {
    /// Version in which the operator took its present form.
    since: i64,
    /// Name and type parameter of each operand. A parameter that ends in `...` is that of all further operands.
    inputs: Vec<(String, String)>,
    outputs: Vec<(String, String)>,
    /// Type parameters that have one type only.
    #[serde(default)]
    fixed: BTreeMap<String, String>,
    cpu: Vec<Kernel>,
    cuda: Vec<Kernel>,
    #[serde(default)]
    pub(super) cuda_host_inputs: Vec<usize>,
    #[serde(default)]
    pub(super) cuda_host_outputs: Vec<usize>,
}

/// The types that each parameter may have, separated by spaces. A parameter that is not named may have any.
type Kernel = BTreeMap<String, String>;

/// An operand of a node, with what the table calls it.
struct Operand<'a> {
    /// Name of the operand in the operator's definition.
    name: &'a str,
    parameter: &'a str,
    element: &'static str,
}

impl Kernels {
    /// The built-in table.
    pub(super) fn load() -> Result<Self> {
        serde_json::from_str(TABLE).map_err(|error| Error::Graph {
            node: "readiness/kernels.json".into(),
            problem: error.to_string(),
        })
    }

    /// The operator of a node, or why nothing is known about it.
    pub(super) fn operator(&self, view: &View<'_>, node: &NodeProto) -> Result<&Operator, String> {
        if view.opset() != self.opset {
            return Err(format!(
                "the kernel table is for version {} of the standard operators, not {}",
                self.opset,
                view.opset()
            ));
        }
        self.operators.get(&operator(node)).ok_or_else(|| {
            "the kernel table does not have this operator; \
             add it with scripts/make-kernel-tables.py"
                .to_owned()
        })
    }
}

impl Operator {
    /// Name of the input at `index`.
    pub(super) fn input_name(&self, index: usize) -> &str {
        formal(&self.inputs, index).map_or("", |(name, _)| name)
    }

    /// Whether `provider` has a kernel for the node's types, or which type is at fault.
    pub(super) fn supports(
        &self,
        provider: Provider,
        view: &View<'_>,
        node: &NodeProto,
    ) -> Result<(), String> {
        let kernels = match provider {
            Provider::Cpu => &self.cpu,
            Provider::Cuda => &self.cuda,
        };
        let provider = provider.name();
        if kernels.is_empty() {
            return Err(format!(
                "the {provider} provider has no kernel for this operator (version {})",
                self.since
            ));
        }
        let operands = self.operands(view, node)?;
        for operand in &operands {
            let kernel_types: Vec<&str> = kernels
                .iter()
                .filter_map(|kernel| kernel.get(operand.parameter))
                .flat_map(|types| types.split(' '))
                .collect();
            let types = match self.fixed.get(operand.parameter) {
                Some(only) => vec![only.as_str()],
                None => kernel_types,
            };
            if !types.is_empty() && !types.contains(&operand.element) {
                return Err(format!(
                    "the {provider} provider has no kernel for {} `{}`; it takes {}",
                    operand.element,
                    operand.name,
                    listed(types)
                ));
            }
        }
        let fits = |kernel: &Kernel| {
            operands.iter().all(|operand| {
                kernel
                    .get(operand.parameter)
                    .is_none_or(|types| types.split(' ').any(|t| t == operand.element))
            })
        };
        if kernels.iter().any(fits) {
            return Ok(());
        }
        let given: Vec<String> = operands
            .iter()
            .map(|operand| format!("{} `{}`", operand.element, operand.name))
            .collect();
        Err(format!(
            "the {provider} provider has no kernel for {} together",
            given.join(", ")
        ))
    }

    /// The operands that the node has.
    fn operands<'a>(
        &'a self,
        view: &View<'_>,
        node: &NodeProto,
    ) -> Result<Vec<Operand<'a>>, String> {
        let mut operands = Vec::new();
        for (formals, names) in [(&self.inputs, &node.input), (&self.outputs, &node.output)] {
            for (index, value) in names.iter().enumerate() {
                if value.is_empty() {
                    continue;
                }
                let (name, parameter) = formal(formals, index)
                    .ok_or_else(|| format!("`{value}` is one operand too many"))?;
                let element = view
                    .value(value)
                    .map(|value| value.element)
                    .filter(|&element| element != "undefined")
                    .ok_or_else(|| format!("the type of `{value}` is not known"))?;
                operands.push(Operand {
                    name,
                    parameter,
                    element,
                });
            }
        }
        Ok(operands)
    }
}

/// Name and parameter of the operand at `index`.
fn formal(formals: &[(String, String)], index: usize) -> Option<(&str, &str)> {
    let (name, parameter) = match formals.get(index) {
        Some(formal) => formal,
        None => formals.last().filter(|(_, p)| p.ends_with("..."))?,
    };
    Some((name, parameter.trim_end_matches("...")))
}

fn listed(mut types: Vec<&str>) -> String {
    types.sort_unstable();
    types.dedup();
    types.join(", ")
}
