//! A node in place of others.

use super::operators::DOMAIN;
use crate::proto::{AttributeKind, AttributeProto, NodeProto};

/// A node, and the places of those that it replaces. It goes to the place of the last one.
pub(super) struct Replacement {
    pub(super) node: NodeProto,
    pub(super) places: Vec<usize>,
}

/// A node of the runtime's domain that makes what `of` made.
pub(super) fn node(
    operator: &str,
    of: &NodeProto,
    mut input: Vec<String>,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    // Operands at the end that are not there are not named.
    while input.last().is_some_and(String::is_empty) {
        input.pop();
    }
    NodeProto {
        input,
        output: of.output.clone(),
        name: of.name.clone(),
        op_type: Some(operator.into()),
        attribute,
        domain: Some(DOMAIN.into()),
    }
}

pub(super) fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        i: Some(value),
        r#type: Some(AttributeKind::Int as i32),
        ..AttributeProto::default()
    }
}
