//! Every kind of fault is found.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::proto::{
    AttributeKind, AttributeProto, DimensionProto, GraphProto, NodeProto, OPSET,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto,
};

const BF16: i32 = 16;
const FLOAT: i32 = 1;
const F16: i32 = 10;
const INT8: i32 = 3;
const UINT8: i32 = 2;
const INT32: i32 = 6;
const INT64: i32 = 7;

/// A model in the making. Nodes are called after their operator.
struct Model {
    graph: GraphProto,
    opset: i64,
}

impl Model {
    fn new() -> Self {
        Self {
            graph: GraphProto::default(),
            opset: OPSET,
        }
    }

    fn input(mut self, name: &str, element: i32, rank: usize) -> Self {
        self.graph.input.push(info(name, element, rank));
        self
    }

    /// A constant of zeros in the model.
    fn constant(mut self, name: &str, element: i32, elements: i64, bytes: usize) -> Self {
        self.graph.initializer.push(TensorProto {
            dims: vec![elements],
            data_type: Some(element),
            name: Some(name.into()),
            raw_data: Some(vec![0; bytes]),
            external_data: Vec::new(),
            data_location: None,
        });
        self
    }

    /// A weight in another file.
    fn weight(mut self, name: &str, element: i32) -> Self {
        self.graph.initializer.push(TensorProto {
            dims: vec![64, 64],
            data_type: Some(element),
            name: Some(name.into()),
            raw_data: None,
            external_data: vec![StringStringEntryProto {
                key: Some("location".into()),
                value: Some("model.safetensors".into()),
            }],
            data_location: Some(1),
        });
        self
    }

    /// `operator` is `Op` or `domain.Op`; outputs are (name, element, rank).
    fn node(
        mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, i64)],
        outputs: &[(&str, i32, usize)],
    ) -> Self {
        let (domain, op_type) = operator.rsplit_once('.').unwrap_or(("", operator));
        for &(name, element, rank) in outputs {
            self.graph.value_info.push(info(name, element, rank));
        }
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: outputs.iter().map(|(name, ..)| name.to_string()).collect(),
            name: Some(op_type.to_lowercase()),
            op_type: Some(op_type.into()),
            attribute: attributes
                .iter()
                .map(|&(name, value)| AttributeProto {
                    name: Some(name.into()),
                    f: (name == "softcap").then_some(value as f32),
                    i: (name != "softcap").then_some(value),
                    r#type: Some(AttributeKind::Int.into()),
                    ..AttributeProto::default()
                })
                .collect(),
            domain: Some(domain.into()),
        });
        self
    }

    fn check(self, device: Device, target: Target) -> Report {
        let model = ModelProto {
            opset_import: vec![OperatorSetIdProto {
                domain: None,
                version: Some(self.opset),
            }],
            graph: Some(self.graph),
            ..ModelProto::default()
        };
        check(&model, device, target).unwrap()
    }
}

fn info(name: &str, element: i32, rank: usize) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(element),
                shape: Some(TensorShapeProto {
                    dim: vec![DimensionProto::default(); rank],
                }),
            }),
        }),
    }
}

/// One node over inputs of the given types, all of rank 2.
fn single(operator: &str, inputs: &[i32], output: i32) -> Model {
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
    let mut model = Model::new();
    for (name, &element) in names.iter().zip(inputs) {
        model = model.input(name, element, 2);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    model.node(operator, &names, &[], &[("y", output, 2)])
}

const HEADS: [(&str, i64); 2] = [("q_num_heads", 4), ("kv_num_heads", 2)];

/// An attention over inputs q, k, v of `rank` and a bf16 mask, cache and ids of rank 4.
fn attention(inputs: &[&str], rank: usize, attributes: &[(&str, i64)], outputs: usize) -> Model {
    let all = [("y", BF16, rank), ("key", BF16, 4), ("value", BF16, 4)];
    ["q", "k", "v"]
        .into_iter()
        .fold(Model::new(), |model, name| model.input(name, BF16, rank))
        .input("mask", BF16, 4)
        .input("past", BF16, 4)
        .node("Attention", inputs, attributes, &all[..outputs])
}

#[test]
fn every_kind_of_fault_is_found() {
    let causal = [HEADS[0], HEADS[1], ("is_causal", 1)];
    let softcap = [HEADS[0], HEADS[1], ("softcap", 50)];
    let qkv = ["q", "k", "v"];
    let shape_of = || {
        Model::new()
            .input("x", BF16, 2)
            .node("Shape", &["x"], &[], &[("s", INT64, 1)])
    };
    let mut old = single("Add", &[FLOAT, FLOAT], FLOAT);
    old.opset = 17;
    let mut untyped = single("Add", &[FLOAT, FLOAT], FLOAT);
    untyped.graph.value_info.clear();

    use Device::{Cpu, Cuda};
    use Target::{Onnx, Ort};
    let cases: Vec<(Model, Device, Target, &str)> = vec![
        // What the CUDA provider lacks.
        (
            single("ReduceMean", &[BF16], BF16),
            Cuda,
            Ort,
            "node `reducemean` (ReduceMean): the CUDA provider has no kernel for bfloat16 `data`; it takes double, \
             float, float16, int32; it would run on the CPU",
        ),
        (
            single(
                "com.microsoft.GroupQueryAttention",
                &[FLOAT, FLOAT, FLOAT],
                FLOAT,
            ),
            Cuda,
            Ort,
            "no kernel for float `query`; it takes bfloat16, float16",
        ),
        (
            single("DynamicQuantizeLinear", &[FLOAT], UINT8),
            Cuda,
            Ort,
            "the CUDA provider has no kernel for this operator (version 11)",
        ),
        (
            single("Equal", &[BF16, BF16], 9),
            Cuda,
            Ort,
            "no kernel for bfloat16 `A`",
        ),
        // Host and device.
        (
            Model::new()
                .input("x", BF16, 2)
                .input("length", INT64, 1)
                .node("Neg", &["length"], &[], &[("n", INT64, 1)])
                .node("Expand", &["x", "n"], &[], &[("y", BF16, 2)]),
            Cuda,
            Ort,
            "node `expand` (Expand): reads `shape` on the host, and `n` is computed on the device",
        ),
        (
            shape_of()
                .node("Cast", &["s"], &[("to", 1)], &[("f", FLOAT, 1)])
                .node("Sqrt", &["f"], &[], &[("r", FLOAT, 1)]),
            Cuda,
            Ort,
            "node `cast` (Cast): computes float values on the CPU",
        ),
        // What the CPU provider lacks.
        (
            single("Gemm", &[BF16, BF16], BF16),
            Cpu,
            Ort,
            "the CPU provider has no kernel for bfloat16 `A`; it takes double, float",
        ),
        (
            single("com.microsoft.PagedAttention", &[FLOAT], FLOAT),
            Cpu,
            Ort,
            "the CPU provider has no kernel for this operator",
        ),
        (
            single(
                "com.microsoft.MatMulIntegerToFloat",
                &[INT8, UINT8, FLOAT, FLOAT],
                FLOAT,
            ),
            Cpu,
            Ort,
            "no kernel for int8 `A`, uint8 `B`, float `a_scale`, float `b_scale`, float `Y` together",
        ),
        (
            single("RMSNormalization", &[F16, FLOAT], FLOAT),
            Cpu,
            Ort,
            "no kernel for float16 `X`, float `scale`, float `Y` together",
        ),
        // What the table does not say.
        (
            single("Conv", &[FLOAT, FLOAT], FLOAT),
            Cpu,
            Ort,
            "the kernel table does not have this operator",
        ),
        (
            single("Sigmoid", &[FLOAT, FLOAT], FLOAT),
            Cpu,
            Ort,
            "`x1` is one operand too many",
        ),
        (
            old,
            Cpu,
            Ort,
            "version 23 of the standard operators, not 17",
        ),
        (untyped, Cuda, Ort, "the type of `y` is not known"),
        // What TensorRT's parser refuses.
        (
            single("com.microsoft.MatMulNBits", &[BF16, UINT8, BF16], BF16),
            Cuda,
            Onnx,
            "node `matmulnbits` (com.microsoft.MatMulNBits): TensorRT's parser does not take this operator",
        ),
        (
            single("MatMulInteger", &[INT8, INT8], INT32),
            Cuda,
            Onnx,
            "TensorRT's parser does not take this operator",
        ),
        (
            single("Add", &[INT8, INT8], INT8),
            Cuda,
            Onnx,
            "takes float, float16, bfloat16, int32, int64 here, and `x0` is int8",
        ),
        (single("Cast", &[BF16], INT8), Cuda, Onnx, "and `y` is int8"),
        (
            attention(&qkv, 3, &causal, 2),
            Cuda,
            Onnx,
            "an attention with exactly one output, not 2",
        ),
        (
            attention(&["q", "k", "v", "mask"], 3, &causal, 1),
            Cuda,
            Onnx,
            "a mask or `is_causal`, not both, and `mask` is given",
        ),
        (
            attention(&["q", "k", "v", "", "past", "past"], 3, &causal, 1),
            Cuda,
            Onnx,
            "no past keys, values or lengths, and `past` is given",
        ),
        (attention(&qkv, 3, &softcap, 1), Cuda, Onnx, "no `softcap`"),
        (
            attention(&qkv, 3, &[HEADS[0], HEADS[1], ("softmax_precision", 1)], 1),
            Cuda,
            Onnx,
            "no `softmax_precision`",
        ),
        (
            attention(&qkv, 3, &[("is_causal", 1)], 1),
            Cuda,
            Onnx,
            "three dimensions need `q_num_heads` and `kv_num_heads`",
        ),
        (
            attention(&qkv, 2, &causal, 1),
            Cuda,
            Onnx,
            "four dimensions each, or three",
        ),
        (
            ["x", "c", "s"]
                .into_iter()
                .fold(Model::new(), |model, name| model.input(name, BF16, 3))
                .input("ids", INT32, 2)
                .node(
                    "RotaryEmbedding",
                    &["x", "c", "s", "ids"],
                    &[],
                    &[("y", BF16, 3)],
                ),
            Cpu,
            Onnx,
            "int64 position ids only",
        ),
        (
            shape_of().node("ReduceMax", &["x", "s"], &[], &[("y", BF16, 2)]),
            Cpu,
            Onnx,
            "needs the axes as a constant, and `s` is computed",
        ),
        (
            Model::new()
                .weight("w", INT8)
                .input("scale", BF16, 1)
                .input("zero", INT8, 1)
                .node(
                    "DequantizeLinear",
                    &["w", "scale", "zero"],
                    &[],
                    &[("y", BF16, 2)],
                ),
            Cpu,
            Onnx,
            "zero points of 0, and `zero` is not known to be",
        ),
        (
            ["q", "k", "v"]
                .into_iter()
                .fold(Model::new(), |model, name| model.input(name, FLOAT, 3))
                .node("Attention", &qkv, &causal, &[("y", FLOAT, 3)]),
            Cuda,
            Onnx,
            "TensorRT has no attention kernel for float",
        ),
        // Sizes.
        (
            single("Add", &[FLOAT, FLOAT], FLOAT).constant("table", FLOAT, 262_145, 1_048_580),
            Cpu,
            Ort,
            "the constants in the graph would have 1048580 bytes, and at most 1048576 belong there",
        ),
    ];
    for (model, device, target, expected) in cases {
        let report = model.check(device, target);
        let found: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(
            found.iter().any(|violation| violation.contains(expected)),
            "expected: {expected}\nfound: {found:#?}"
        );
        let error = report.require("stage-00.onnx").unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("stage-00.onnx: {}", found[0])),
            "{error}"
        );
        assert_eq!(error.contains("more problem"), found.len() > 1, "{error}");
    }
}

#[test]
fn a_graph_over_two_gigabytes_is_refused() {
    let mut report = single("Add", &[FLOAT, FLOAT], FLOAT).check(Device::Cpu, Target::Ort);
    report.bytes = (1 << 31) - 1;
    assert_eq!(sizes(&report), []);
    report.bytes += 1;
    let problem = &sizes(&report)[0].problem;
    assert!(
        problem.contains("2147483648 bytes, and at most 2147483647"),
        "{problem}"
    );
}

#[test]
fn sizes_may_be_computed_on_the_host() {
    // The form of a reshape to the shape of another tensor, and of a row index for every cell.
    let report = Model::new()
        .input("x", BF16, 2)
        .constant("zero", INT64, 1, 8)
        .constant("one", INT64, 1, 8)
        .node("Shape", &["x"], &[], &[("shape", INT64, 1)])
        .node("Gather", &["shape", "zero"], &[], &[("rows", INT64, 0)])
        .node("Concat", &["rows", "one"], &[], &[("target", INT64, 1)])
        .node("Reshape", &["x", "target"], &[], &[("flat", BF16, 2)])
        .node("Range", &["zero", "rows", "one"], &[], &[("ids", INT64, 1)])
        .node("Mul", &["ids", "rows"], &[], &[("cells", INT64, 1)])
        .node("Cast", &["cells"], &[("to", 1)], &[("y", FLOAT, 1)])
        .check(Device::Cuda, Target::Onnx);
    assert_eq!(report.violations, []);
    let places: Vec<(&str, RunsOn)> = report
        .placements
        .iter()
        .map(|placement| (placement.operator.as_str(), placement.place))
        .collect();
    assert_eq!(
        places,
        [
            ("Shape", RunsOn::Device),
            ("Gather", RunsOn::Host),
            ("Concat", RunsOn::Host),
            ("Reshape", RunsOn::Device),
            ("Range", RunsOn::Device),
            ("Mul", RunsOn::Device),
            ("Cast", RunsOn::Device),
        ]
    );
    let host: Vec<&str> = report
        .host_operands
        .iter()
        .map(|(o, _)| o.as_str())
        .collect();
    assert_eq!(
        host,
        ["Reshape.shape", "Range.start", "Range.limit", "Range.delta"]
    );
}

#[test]
fn the_table_is_for_the_operators_that_are_written() {
    let kernels = Kernels::load().unwrap();
    assert_eq!(kernels.opset, OPSET);
    let origin = origin().unwrap();
    assert!(origin.cuda.contains("OperatorKernels.md"), "{origin:?}");
    assert!(origin.cpu.contains("onnxruntime 1.32"), "{origin:?}");
}
