//! The paths of the protocol.

use utoipa::{
    PartialSchema,
    openapi::{
        Required,
        path::{ParameterBuilder, ParameterIn},
    },
};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

use super::{infer, models};
use crate::{
    dialects::oip::interface::{TAG, VERSION},
    openapi::{at, tagged, with_parameter},
    state::App,
};

const MODEL: &str = "/v2/models/{model}";

pub(crate) fn routes() -> OpenApiRouter<App> {
    let mut router = tagged(
        TAG,
        "KServe's version 2, as Triton and MLServer speak it, in REST and in gRPC on the same port.",
    )
    .routes(routes!(models::server))
    .routes(at("/v2/", "_slash", routes!(models::server)))
    .routes(routes!(models::live))
    .routes(routes!(models::ready))
    .routes(routes!(models::index));
    for (rest, of_model) in [
        ("", routes!(models::metadata)),
        ("/ready", routes!(models::model_ready)),
        ("/config", routes!(models::config)),
        ("/infer", routes!(infer::infer)),
    ] {
        let path = format!("{MODEL}/versions/{{version}}{rest}");
        router = router
            .routes(of_version(&path, of_model.clone()))
            .routes(of_model);
    }
    router
}

/// The same for a version of a model, of which there is one.
fn of_version(path: &str, of_model: UtoipaMethodRouter<App>) -> UtoipaMethodRouter<App> {
    let version = ParameterBuilder::new()
        .name("version")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The one version that every model has."))
        .schema(Some(String::schema()))
        .example(Some(VERSION.into()));
    with_parameter(at(path, "_of_version", of_model), version.build())
}
