//! Which path speaks which dialect.

use axum::Router;
use utoipa_axum::router::OpenApiRouter;

use super::{
    classify, embeddings, models, native, nim, oip, openai::OpenAi, openrlhf, pooling, slime, tei,
};
use crate::{
    http::{Failure, Problem, ProblemKind},
    state::App,
};

pub(crate) fn routes(app: &App) -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .merge(native::routes())
        .merge(classify::routes())
        .merge(embeddings::routes())
        .merge(pooling::routes(app.options().pooling_scalar))
        .merge(models::routes())
        .merge(nim::routes())
        .merge(openrlhf::routes())
        .merge(slime::routes(app.options()))
        .merge(tei::routes())
        .merge(oip::routes())
}

/// What answers where no path or no method does.
pub(crate) fn with_fallbacks(routes: Router<App>) -> Router<App> {
    routes
        .fallback(async || {
            Failure::<OpenAi>::from(Problem::not_found("there is nothing at this path"))
        })
        .method_not_allowed_fallback(async || {
            Failure::<OpenAi>::from(Problem::new(
                ProblemKind::MethodNotAllowed,
                "this path is not for this method",
            ))
        })
}
