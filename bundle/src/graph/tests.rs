//! What the builder and the checker refuse.

use super::{Dim, ExternalData, GraphBuilder};
use crate::{
    error::Error,
    op::onnx,
    proto::ElementType::{BFloat16, Float, Int64},
};

const ROWS: Dim = Dim::Named("T");

fn bytes(length: u64) -> ExternalData {
    ExternalData {
        location: "model.safetensors".into(),
        offset: 8,
        length,
    }
}

fn message(outcome: Result<(), Error>) -> String {
    match outcome {
        Ok(()) => "no error".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn faults_are_named() {
    type Build = fn(&mut GraphBuilder) -> Result<(), Error>;
    let cases: [(&str, Build, &str); 6] = [
        (
            "sound",
            |b| {
                let x = b.input("x", Float, [ROWS, Dim::Fixed(4)])?;
                let w = b.weight("w", Float, &[2, 4], bytes(32))?;
                let y = onnx::gemm(b, "gemm", &x, &w, None)?;
                b.output(&y, "y")
            },
            "no error",
        ),
        (
            "a name given twice",
            |b| {
                b.input("x", Float, [ROWS])?;
                b.input("x", Float, [ROWS]).map(drop)
            },
            "`x`: two values",
        ),
        (
            "data that do not fill the shape",
            |b| {
                let x = b.input("x", Float, [ROWS, Dim::Fixed(4)])?;
                let w = b.weight("w", Float, &[2, 4], bytes(31))?;
                let y = onnx::gemm(b, "gemm", &x, &w, None)?;
                b.output(&y, "y")
            },
            "`w`: 31 bytes",
        ),
        (
            "a weight that nothing uses",
            |b| {
                let x = b.input("x", Float, [ROWS])?;
                b.weight("w", Float, &[2], bytes(8))?;
                let y = onnx::relu(b, "relu", &x)?;
                b.output(&y, "y")
            },
            "`w`: nothing uses",
        ),
        (
            "widths that differ",
            |b| {
                let x = b.input("x", Float, [ROWS, Dim::Fixed(3)])?;
                let w = b.weight("w", Float, &[2, 4], bytes(32))?;
                onnx::gemm(b, "gemm", &x, &w, None).map(drop)
            },
            "`gemm`: operands x: float[T, 3]; w: float[2, 4]",
        ),
        (
            "types that differ",
            |b| {
                let table = b.weight("w", BFloat16, &[2, 4], bytes(16))?;
                let ids = b.input("ids", Int64, [ROWS])?;
                let rows = onnx::gather(b, "rows", &table, &ids)?;
                let x = b.input("x", Float, [ROWS, Dim::Fixed(4)])?;
                onnx::add(b, "sum", &rows, &x).map(drop)
            },
            "`sum`: operands rows: bfloat16[T, 4]; x: float[T, 4]",
        ),
    ];
    for (name, build, expected) in cases {
        let mut builder = GraphBuilder::new(name);
        let outcome = build(&mut builder).and_then(|()| builder.finish().map(drop));
        let found = message(outcome);
        assert!(found.contains(expected), "{name}: {found}");
    }
}

/// A value of one graph is unknown to another.
#[test]
fn inputs_are_defined_before_use() -> Result<(), Error> {
    let mut other = GraphBuilder::new("other");
    let stray = other.input("stray", Float, [ROWS])?;
    let mut builder = GraphBuilder::new("graph");
    let y = onnx::relu(&mut builder, "relu", &stray)?;
    builder.output(&y, "y")?;
    let found = message(builder.finish().map(drop));
    assert!(found.contains("input stray is not defined"), "{found}");
    Ok(())
}
