//! Which path speaks which dialect.

use axum::Router;

use super::{
    classify, embeddings, models, native, nim, oip, openai::OpenAi, openrlhf, pooling, slime, tei,
};
use crate::{
    http::{Failure, Problem, ProblemKind},
    state::App,
};

pub(crate) fn routes(app: &App) -> Router<App> {
    Router::new()
        .merge(native::routes())
        .merge(classify::routes())
        .merge(embeddings::routes())
        .merge(pooling::routes())
        .merge(models::routes())
        .merge(nim::routes())
        .merge(openrlhf::routes())
        .merge(slime::routes(&app.options().slime_paths))
        .merge(tei::routes())
        .merge(oip::routes())
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
