//! What the builder and the checker refuse.

use std::ops::Range;

use super::{Cut, Dim, ExternalData, Graph, GraphBuilder, Value};
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

/// Some of three layers, built alone, with the hidden states after each. All but the first have a bias that they share.
fn layers(layers: Range<usize>, input: &str, output: &str) -> Result<(Graph, Vec<Value>), Error> {
    let four = Dim::Fixed(4);
    let mut b = GraphBuilder::new("graph");
    let mut x = b.input(input, Float, [ROWS, four])?;
    let mut after = Vec::new();
    for layer in layers {
        x = b.scope(format!("layers.{layer}"), |b| {
            let name = format!("weight.{layer}");
            let weight = b.weight(&name, Float, &[4, 4], bytes(64))?;
            let bias = match layer {
                0 => None,
                _ => Some(b.shared_constant("bias", Float, &[4], vec![0; 16])?),
            };
            onnx::gemm(b, "gemm", &x, &weight, bias.as_ref())
        })?;
        after.push(x.clone());
    }
    b.output(&x, output)?;
    Ok((b.finish()?, after))
}

/// A part is as if it had been built alone: also where what it shares with others was first made for another.
#[test]
fn parts() -> Result<(), Error> {
    let (whole, after) = layers(0..3, "x", "y")?;
    let begin = |layer: usize| Cut {
        value: &after[layer],
        name: "hidden",
    };
    let end = |layer: usize| Cut {
        value: &after[layer],
        name: "next",
    };
    for (from, to, (alone, _)) in [
        (None, None, layers(0..3, "x", "y")?),
        (None, Some(end(0)), layers(0..1, "x", "next")?),
        (None, Some(end(1)), layers(0..2, "x", "next")?),
        (
            Some(begin(0)),
            Some(end(1)),
            layers(1..2, "hidden", "next")?,
        ),
        (Some(begin(0)), None, layers(1..3, "hidden", "y")?),
        (Some(begin(1)), None, layers(2..3, "hidden", "y")?),
    ] {
        let part = whole.part("graph", from, to)?;
        assert_eq!(part.to_string(), alone.to_string());
        assert_eq!(part.to_onnx(), alone.to_onnx());
    }
    // The first layer does not need what the second one gives.
    let found = message(whole.part("graph", Some(begin(1)), Some(end(0))).map(drop));
    assert!(found.contains("nothing uses this value"), "{found}");
    Ok(())
}

#[test]
fn weights_are_moved_by_name() -> Result<(), Error> {
    let (mut graph, _) = layers(0..2, "x", "y")?;
    assert_eq!(
        graph.weights().collect::<Vec<_>>(),
        ["weight.0", "weight.1"]
    );
    graph.move_weights(|name, data| {
        if name == "weight.1" {
            data.offset = 4096;
            data.location = "new".to_owned();
        }
    });
    let text = graph.to_string();
    assert!(
        text.contains("weight.0: float[4, 4] @ model.safetensors 8+64"),
        "{text}"
    );
    assert!(
        text.contains("weight.1: float[4, 4] @ new 4096+64"),
        "{text}"
    );
    Ok(())
}
