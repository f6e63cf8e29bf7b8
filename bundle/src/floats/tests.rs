#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;
use crate::proto::{AttributeProto, GraphProto, NodeProto};

/// A graph with a cast of one weight of two rows of three, and a file with it at byte 4.
fn graph(folder: &Path, location: &str, offset: &str, dims: &[i64]) -> Result<FloatGraph> {
    let values = [0_u16, 0, 0x3f80, 0x4000, 0xbf80, 0, 0x4040, 0x4080];
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    fs::write(folder.join("weights"), bytes).unwrap();
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value.into()),
    };
    let model = ModelProto {
        graph: Some(GraphProto {
            initializer: vec![TensorProto {
                name: Some("w".into()),
                dims: dims.to_vec(),
                data_type: Some(ElementType::BFloat16 as i32),
                data_location: Some(EXTERNAL),
                external_data: vec![entry("location", location), entry("offset", offset)],
                ..TensorProto::default()
            }],
            node: vec![NodeProto {
                op_type: Some("Cast".into()),
                input: vec!["w".into()],
                output: vec!["w/float".into()],
                attribute: vec![AttributeProto {
                    name: Some("to".into()),
                    i: Some(ElementType::Float as i64),
                    ..AttributeProto::default()
                }],
                ..NodeProto::default()
            }],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    let path = folder.join("graph.onnx");
    fs::write(&path, model.to_bytes()).unwrap();
    FloatGraph::read(&path, folder, NonZeroUsize::MIN)
}

#[test]
fn matrices_are_read_and_vectors_are_in_the_graph() {
    let folder = tempfile::tempdir().unwrap();
    let matrix = graph(folder.path(), "weights", "4", &[2, 3]).unwrap();
    assert_eq!(matrix.weights[0].name, "w/float");
    let values = matrix.read_weights(NonZeroUsize::new(3).unwrap()).unwrap();
    assert_eq!(values, [[1.0, 2.0, -1.0, 0.0, 3.0, 4.0]]);
    let vector = graph(folder.path(), "weights", "4", &[3]).unwrap();
    assert!(vector.weights.is_empty());
    let graph = ModelProto::read(&folder.path().join("graph.onnx")).unwrap();
    assert!(
        graph.graph.unwrap().node.len() == 1,
        "the file is as it was"
    );
    let written = folder.path().join("written.onnx");
    fs::write(&written, &vector.bytes).unwrap();
    let graph = ModelProto::read(&written).unwrap().graph.unwrap();
    assert!(graph.node.is_empty());
    let raw = graph.initializer[0].raw_data.clone().unwrap();
    assert_eq!(raw, [1.0_f32, 2.0, -1.0].map(f32::to_le_bytes).concat());
}

/// The smallest range of columns that a thread gets, for any number of rows.
#[test]
fn weights_that_are_wide_enough_for_the_threads() {
    let narrowest = |columns: usize, threads: usize| {
        let blocks = columns.div_ceil(16);
        (1..=threads.min(blocks))
            .flat_map(|used| (0..used).map(move |thread| (thread, used)))
            .map(|(thread, used)| {
                let blocks_of = blocks / used + usize::from(thread < blocks % used);
                let before = thread * (blocks / used) + thread.min(blocks % used);
                (blocks_of * 16).min(columns - before * 16)
            })
            .min()
            .unwrap()
    };
    for threads in [1, 2, 3, 4, 7, 8, 16, 64, 128] {
        for columns in (1..400).chain([512, 896, 1000, 1024, 4864, 8192, 29568]) {
            let alike = sums_alike(columns, NonZeroUsize::new(threads).unwrap());
            let narrowest = narrowest(columns, threads);
            // A last range that is narrow by its last block alone is taken for narrow with some that are not.
            assert!(!alike || narrowest > 64, "{columns} on {threads}");
            assert!(alike || narrowest < 64 + 16, "{columns} on {threads}");
        }
    }
    for (columns, threads, alike) in [
        (64, 1, false),
        (80, 1, true),
        (128, 2, false),
        (1024, 8, true),
        (1024, 16, false),
        (8192, 64, true),
    ] {
        assert_eq!(
            sums_alike(columns, NonZeroUsize::new(threads).unwrap()),
            alike
        );
    }
}

#[test]
fn wide_weights_of_products_are_not_packed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.onnx");
    graph(folder.path(), "weights", "4", &[2, 3]).unwrap();
    fs::write(folder.path().join("weights"), vec![0; 1 << 12]).unwrap();
    let mut model = ModelProto::read(&path).unwrap();
    let parts = model.graph.as_mut().unwrap();
    parts.initializer[0].dims = vec![160, 3];
    let gemm = |input: [&str; 2], transposed: i64| NodeProto {
        op_type: Some("Gemm".into()),
        input: input.map(Into::into).to_vec(),
        output: vec!["y".into()],
        attribute: vec![AttributeProto {
            name: Some("transB".into()),
            i: Some(transposed),
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    };
    for (inputs, transposed, threads, packed) in [
        (["x", "w/float"], 1, 1, false),
        (["x", "w/float"], 1, 2, false),
        (["x", "w/float"], 1, 3, true),
        (["x", "w/float"], 0, 1, true),
        (["w/float", "x"], 1, 1, true),
    ] {
        let mut model = model.clone();
        let parts = model.graph.as_mut().unwrap();
        parts.node.push(gemm(inputs, transposed));
        fs::write(&path, model.to_bytes()).unwrap();
        let threads = NonZeroUsize::new(threads).unwrap();
        let read = FloatGraph::read(&path, folder.path(), threads).unwrap();
        assert_eq!(read.weights[0].packed, packed, "{inputs:?} {threads}");
        assert_eq!(read.packed_bytes(), if packed { 160 * 3 * 4 } else { 0 });
        fs::write(&path, &read.bytes).unwrap();
        let inputs = ModelProto::read(&path).unwrap().graph.unwrap().input;
        assert_eq!(inputs.len(), usize::from(!packed));
    }
}

#[test]
fn weights_that_are_not_where_the_graph_says() {
    let folder = tempfile::tempdir().unwrap();
    for (location, offset, dims, expected) in [
        ("gone", "4", &[2, 3][..], "No such file"),
        ("../weights", "4", &[2, 3], "not in the folder"),
        ("/etc/hostname", "0", &[1, 1], "not in the folder"),
        ("weights", "6", &[2, 3], "does not end within"),
        ("weights", "4", &[i64::MAX, i64::MAX], "does not end within"),
        ("weights", "four", &[2, 3], "the offset `four`"),
        ("weights", "4", &[-2, 3], "a dimension of -2"),
    ] {
        let error = graph(folder.path(), location, offset, dims)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected) && error.contains("tensor `w`"),
            "{error}"
        );
    }
}
