//! Schemas of shapes that no type of ours writes or reads by itself.

use utoipa::openapi::{
    RefOr, Schema,
    schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Type},
};

pub(crate) fn text(description: &str) -> Schema {
    simple(Type::String, description)
}

pub(crate) fn number(description: &str) -> Schema {
    simple(Type::Number, description)
}

pub(crate) fn null() -> Schema {
    ObjectBuilder::new().schema_type(Type::Null).into()
}

fn simple(kind: Type, description: &str) -> Schema {
    let schema = ObjectBuilder::new().schema_type(kind);
    schema.description(Some(description)).into()
}

pub(crate) fn list(of: impl Into<RefOr<Schema>>) -> Schema {
    ArrayBuilder::new().items(of.into()).into()
}

pub(crate) fn object(description: &str) -> ObjectBuilder {
    let schema = ObjectBuilder::new().schema_type(Type::Object);
    schema.description(Some(description))
}

pub(crate) fn any_of(
    description: &str,
    schemas: impl IntoIterator<Item = RefOr<Schema>>,
) -> Schema {
    let builder = AnyOfBuilder::new().description(Some(description));
    schemas.into_iter().fold(builder, AnyOfBuilder::item).into()
}
