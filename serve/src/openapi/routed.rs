//! Routes with their description.

use serde_json::Value;
use utoipa::openapi::{
    OpenApiBuilder, PathItem, RefOr,
    path::{Operation, Parameter, Paths},
    tag::TagBuilder,
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::state::App;

/// The routes of a dialect, which are listed under its name.
pub(crate) fn tagged(name: &str, description: &str) -> OpenApiRouter<App> {
    let tag = TagBuilder::new().name(name).description(Some(description));
    let api = OpenApiBuilder::new().tags(Some([tag.build()]));
    OpenApiRouter::with_openapi(api.build())
}

/// The same routes at another path; their operations have a suffix to their id there.
pub(crate) fn at(
    path: &str,
    suffix: &str,
    (schemas, paths, methods): UtoipaMethodRouter<App>,
) -> UtoipaMethodRouter<App> {
    let mut moved = Paths::new();
    for mut item in paths.paths.into_values() {
        for operation in operations(&mut item) {
            if let Some(id) = &mut operation.operation_id {
                id.push_str(suffix);
            }
        }
        moved.paths.insert(path.to_owned(), item);
    }
    (schemas, moved, methods)
}

/// With another parameter of each operation.
pub(crate) fn with_parameter(
    (schemas, mut paths, methods): UtoipaMethodRouter<App>,
    parameter: Parameter,
) -> UtoipaMethodRouter<App> {
    for operation in paths.paths.values_mut().flat_map(operations) {
        let parameters = operation.parameters.get_or_insert_default();
        parameters.push(parameter.clone().into());
    }
    (schemas, paths, methods)
}

/// With another schema under a name, and with that an example of the reply, where options of the server decide of it.
pub(crate) fn with_reply(
    (mut schemas, mut paths, methods): UtoipaMethodRouter<App>,
    (name, schema): (&str, utoipa::openapi::Schema),
    example: &Value,
) -> UtoipaMethodRouter<App> {
    for (_, known) in schemas.iter_mut().filter(|(known, _)| known == name) {
        *known = schema.clone().into();
    }
    for operation in paths.paths.values_mut().flat_map(operations) {
        let reply = operation.responses.responses.get_mut("200");
        if let Some(RefOr::T(reply)) = reply
            && let Some(RefOr::T(content)) = reply.content.get_mut("application/json")
        {
            content.example = Some(example.clone());
        }
    }
    (schemas, paths, methods)
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    item.get.iter_mut().chain(&mut item.post)
}
