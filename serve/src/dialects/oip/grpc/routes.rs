//! The paths of the services.

use axum::routing::{MethodRouter, any, post};
use utoipa::{
    PartialSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, HttpMethod, PathItem, Required, ResponseBuilder,
        path::OperationBuilder, request_body::RequestBodyBuilder, schema::ObjectBuilder,
    },
};
use utoipa_axum::router::OpenApiRouter;

use super::{
    health,
    infer::infer,
    models,
    services::{HEALTH, INFERENCE},
    status::Refusal,
};
use crate::{
    dialects::oip::interface::TAG,
    http::{Problem, ProblemKind},
    state::App,
};

pub(crate) fn routes() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::default();
    for (service, method, what, route) in [
        (
            INFERENCE,
            "ServerLive",
            "Whether the server answers.",
            post(models::live),
        ),
        (
            INFERENCE,
            "ServerReady",
            "Whether all models are ready.",
            post(models::ready),
        ),
        (
            INFERENCE,
            "ServerMetadata",
            "What the server is.",
            post(models::server),
        ),
        (
            INFERENCE,
            "ModelReady",
            "Whether a model is ready.",
            post(models::model_ready),
        ),
        (
            INFERENCE,
            "ModelMetadata",
            "What a model takes and gives.",
            post(models::metadata),
        ),
        (
            INFERENCE,
            "ModelConfig",
            "The same, in the form of Triton.",
            post(models::config),
        ),
        (
            INFERENCE,
            "RepositoryIndex",
            "The models of the server.",
            post(models::index),
        ),
        (
            INFERENCE,
            "ModelInfer",
            "Scores the conversations of named tensors.",
            post(infer),
        ),
        (
            HEALTH,
            "Check",
            "Whether the server is ready, as gRPC asks.",
            post(health::check),
        ),
    ] {
        router = call(router, service, method, what, route);
    }
    for service in [INFERENCE, HEALTH] {
        router = router.route(&format!("/{service}/{{method}}"), any(unimplemented));
    }
    router
}

/// A unary call. HTTP's status is always 200; how it ended is said in `grpc-status`.
fn call(
    router: OpenApiRouter<App>,
    service: &str,
    method: &str,
    what: &str,
    route: MethodRouter<App>,
) -> OpenApiRouter<App> {
    let path = format!("/{service}/{method}");
    let message = |description| {
        let frame = ObjectBuilder::new()
            .content_media_type("application/grpc")
            .description(Some(description));
        ContentBuilder::new().schema(Some(frame)).build()
    };
    let request = RequestBodyBuilder::new()
        .content("application/grpc", message("One message in its frame."))
        .required(Some(Required::True));
    let status = HeaderBuilder::new().schema(Some(String::schema())).description(Some(
        "How it ended: 0 is well. It is a header of a call that was refused, and else a trailer.",
    ));
    let reply = ResponseBuilder::new()
        .description("The call ended.")
        .header("grpc-status", status.build())
        .content(
            "application/grpc",
            message("One message in its frame, or none."),
        );
    let other = ResponseBuilder::new().description("It is no call of gRPC.");
    let operation = OperationBuilder::new()
        .operation_id(Some(format!("grpc_{method}")))
        .tag(TAG)
        .summary(Some(format!("{what} gRPC.")))
        .request_body(Some(request.build()))
        .response("200", reply)
        .response("415", other);
    let item = PathItem::new(HttpMethod::Post, operation);
    let mut router = router.route(&path, route);
    router.get_openapi_mut().paths.paths.insert(path, item);
    router
}

async fn unimplemented() -> Refusal {
    let what = "the service has no such method here";
    Problem::new(ProblemKind::MethodNotAllowed, what).into()
}
