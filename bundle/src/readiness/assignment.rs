//! Where ONNX Runtime places each node.

use std::collections::HashSet;

use super::{
    kernels::{Kernels, Operator, Provider},
    report::{AssignedNode, Report, RunsOn},
};
use crate::{
    proto::{
        NodeProto,
        view::{Source, Value, View, operator},
    },
    violation::Violation,
};

/// Constants of at most this many elements do not keep a node on the device (ONNX Runtime's
/// `kSmallInitializerThreshold`).
const SMALL_CONSTANT: u64 = 100;

/// Every node has to have a kernel of the CPU provider.
pub(super) fn on_cpu(view: &View<'_>, kernels: &Kernels) -> Report {
    let mut report = empty();
    for node in view.nodes() {
        let found = kernels
            .operator(view, node)
            .and_then(|operator| operator.supports(Provider::Cpu, view, node));
        if let Err(problem) = found {
            report.violations.push(violation(node, problem));
        }
        report
            .placements
            .push(placement(view, node, RunsOn::Device));
    }
    report
}

/// Every node has to have a kernel of the CUDA provider, except those that compute sizes on the host.
///
/// Follows ONNX Runtime's own placement: the kernels' types, then `GetCpuPreferredNodes`
/// (`core/framework/fallback_cpu_capability.cc`), which moves to the CPU what depends on nothing but values that
/// kernels leave in the host's memory.
pub(super) fn on_cuda(view: &View<'_>, kernels: &Kernels) -> Report {
    let mut report = empty();
    let mut host: HashSet<&str> = HashSet::new();
    for node in view.nodes() {
        let place = match kernels.operator(view, node) {
            Ok(operator) => match operator.supports(Provider::Cuda, view, node) {
                Ok(()) if prefers_host(view, node, operator, &host) => {
                    report
                        .violations
                        .extend(fault_on_host(view, node, operator));
                    RunsOn::Host
                }
                Ok(()) => {
                    operands_on_host(view, node, operator, &host, &mut report);
                    let left = operator.cuda_host_outputs.iter();
                    host.extend(left.filter_map(|&i| node.output.get(i)).map(String::as_str));
                    RunsOn::Device
                }
                Err(problem) => {
                    if prefers_host(view, node, operator, &host) {
                        report
                            .violations
                            .extend(fault_on_host(view, node, operator));
                    } else {
                        let problem = format!("{problem}; it would run on the CPU");
                        report.violations.push(violation(node, problem));
                    }
                    RunsOn::Host
                }
            },
            Err(problem) => {
                report.violations.push(violation(node, problem));
                RunsOn::Host
            }
        };
        if place == RunsOn::Host {
            host.extend(node.output.iter().map(String::as_str));
        }
        report.placements.push(placement(view, node, place));
    }
    report
}

/// Whether the node depends on nothing but values in the host's memory: then ONNX Runtime runs it on the CPU even
/// when the device has a kernel for it.
fn prefers_host(
    view: &View<'_>,
    node: &NodeProto,
    operator: &Operator,
    host: &HashSet<&str>,
) -> bool {
    let mut follows_host_value = false;
    for (index, name) in operands(node) {
        let narrow_float = view.value(name).is_none_or(|value| {
            value.element.starts_with("float") && value.element != "float"
                || value.element == "bfloat16"
        });
        if narrow_float {
            return false;
        }
        if is_free(view, name) {
            continue;
        }
        if !host.contains(name) || operator.cuda_host_inputs.contains(&index) {
            return false;
        }
        follows_host_value = true;
    }
    follows_host_value
}

/// What is wrong with a node that runs on the host: only sizes and indices may be computed there.
fn fault_on_host(view: &View<'_>, node: &NodeProto, operator: &Operator) -> Option<Violation> {
    let fraction = node
        .output
        .iter()
        .filter_map(|name| view.value(name))
        .find(|value| !is_whole_number(value));
    let problem = match fraction {
        Some(value) => Some(format!(
            "computes {} values on the CPU, since it depends on nothing that is on the device",
            value.element
        )),
        None => operator.supports(Provider::Cpu, view, node).err(),
    };
    problem.map(|problem| violation(node, problem))
}

/// Notes the operands that the kernel reads from the host's memory; those that the device computes are at fault.
fn operands_on_host(
    view: &View<'_>,
    node: &NodeProto,
    kernel: &Operator,
    host: &HashSet<&str>,
    report: &mut Report,
) {
    for &index in &kernel.cuda_host_inputs {
        let Some(name) = node.input.get(index).filter(|name| !name.is_empty()) else {
            continue;
        };
        let operand = kernel.input_name(index);
        let source = view.value(name).map(|value| value.source);
        if source == Some(Source::Node) && !host.contains(name.as_str()) {
            let problem = format!(
                "reads `{operand}` on the host, and `{name}` is computed on the device: \
                 every run would wait for it to be copied back"
            );
            report.violations.push(violation(node, problem));
            continue;
        }
        let from = match source {
            Some(Source::Constant(_)) => "constant".to_owned(),
            _ => name.clone(),
        };
        let entry = (format!("{}.{operand}", operator(node)), from);
        if !report.host_operands.contains(&entry) {
            report.host_operands.push(entry);
        }
    }
}

/// A value that ONNX Runtime takes from either side at no cost worth counting.
fn is_free(view: &View<'_>, name: &str) -> bool {
    match view.value(name).map(|value| value.source) {
        Some(Source::Input) => true,
        Some(Source::Constant(elements)) => elements <= SMALL_CONSTANT,
        _ => false,
    }
}

/// Whether the value counts or selects: no activation and no weight.
fn is_whole_number(value: &Value<'_>) -> bool {
    value.element == "bool" || value.element.contains("int")
}

fn operands(node: &NodeProto) -> impl Iterator<Item = (usize, &str)> {
    node.input
        .iter()
        .map(String::as_str)
        .enumerate()
        .filter(|(_, name)| !name.is_empty())
}

fn empty() -> Report {
    Report {
        placements: Vec::new(),
        violations: Vec::new(),
        host_operands: Vec::new(),
        bytes: 0,
        inline_bytes: 0,
    }
}

fn placement(view: &View<'_>, node: &NodeProto, place: RunsOn) -> AssignedNode {
    let element = node
        .output
        .first()
        .and_then(|name| view.value(name))
        .map_or("undefined", |value| value.element);
    AssignedNode {
        node: node.name.clone().unwrap_or_default(),
        operator: operator(node),
        element: element.to_owned(),
        place,
    }
}

pub(super) fn violation(node: &NodeProto, problem: String) -> Violation {
    Violation {
        node: Some(node.name.clone().unwrap_or_default()),
        operator: Some(operator(node)),
        problem,
    }
}
