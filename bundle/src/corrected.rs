//! Graphs that add a constant to their scores.

use std::path::Path;

use crate::{
    error::{Error, Result},
    names::SCORES,
    proto::{ElementType, ModelProto, NodeProto, TensorProto, ValueInfoProto},
};

/// The scores as the reward head gives them.
const BEFORE: &str = "score/uncorrected";
/// What is added.
const CORRECTION: &str = "score/correction";

/// The graph of the file `path`, whose bytes are given and which is that of the last stage, with `correction` added to the
/// scores: one number for each label.
///
/// # Errors
/// [`Error::Model`] when it gives no scores, or is corrected already.
pub fn add_to_scores(bytes: &[u8], path: &Path, correction: &[f32]) -> Result<Vec<u8>> {
    let mut model = ModelProto::from_bytes(bytes, path)?;
    let fault = |problem: &str| Error::Model {
        path: path.to_owned(),
        problem: problem.into(),
    };
    let graph = model.graph.as_mut().ok_or_else(|| fault("has no graph"))?;
    let is_corrected = |tensor: &TensorProto| tensor.name.as_deref() == Some(CORRECTION);
    if graph.initializer.iter().any(is_corrected) {
        return Err(fault("has corrected scores already"));
    }
    let outputs = graph.node.iter_mut().flat_map(|node| &mut node.output);
    let Some(made) = outputs.into_iter().find(|name| *name == SCORES) else {
        return Err(fault("gives no scores"));
    };
    *made = BEFORE.to_owned();
    let readers = graph.node.iter_mut().flat_map(|node| &mut node.input);
    for read in readers.filter(|name| *name == SCORES) {
        *read = BEFORE.to_owned();
    }
    let described = graph
        .output
        .iter()
        .find(|value| value.name.as_deref() == Some(SCORES));
    let described = described.cloned().map(|value| ValueInfoProto {
        name: Some(BEFORE.into()),
        ..value
    });
    graph.value_info.extend(described);
    graph.initializer.push(TensorProto {
        name: Some(CORRECTION.into()),
        data_type: Some(ElementType::Float as i32),
        dims: vec![correction.len() as i64],
        raw_data: Some(correction.iter().flat_map(|x| x.to_le_bytes()).collect()),
        ..TensorProto::default()
    });
    graph.node.push(NodeProto {
        input: vec![BEFORE.to_owned(), CORRECTION.to_owned()],
        output: vec![SCORES.to_owned()],
        name: Some("score/corrected".into()),
        op_type: Some("Add".into()),
        ..NodeProto::default()
    });
    Ok(model.to_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proto::GraphProto;

    fn model(outputs: &[&str]) -> Vec<u8> {
        let node = |name: &&str| NodeProto {
            input: vec!["x".into()],
            output: vec![(*name).to_owned()],
            op_type: Some("Identity".into()),
            ..NodeProto::default()
        };
        let graph = GraphProto {
            node: outputs.iter().map(node).collect(),
            output: vec![ValueInfoProto {
                name: Some(SCORES.into()),
                ..ValueInfoProto::default()
            }],
            ..GraphProto::default()
        };
        ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        }
        .to_bytes()
    }

    #[test]
    fn what_is_added_comes_last() {
        let path = Path::new("stage.onnx");
        let bytes = add_to_scores(&model(&["other", SCORES]), path, &[0.5, -1.0]).unwrap();
        let graph = ModelProto::from_bytes(&bytes, path).unwrap().graph.unwrap();
        let last = graph.node.last().unwrap();
        assert_eq!(last.input, [BEFORE, CORRECTION]);
        assert_eq!(last.output, [SCORES]);
        assert_eq!(graph.node[1].output, [BEFORE]);
        assert_eq!(graph.initializer[0].dims, [2]);
        assert_eq!(graph.value_info[0].name.as_deref(), Some(BEFORE));
        for (bytes, problem) in [(bytes, "already"), (model(&["other"]), "gives no scores")] {
            let error = add_to_scores(&bytes, path, &[0.5]).unwrap_err().to_string();
            assert!(
                error.contains("stage.onnx") && error.contains(problem),
                "{error}"
            );
        }
    }
}
