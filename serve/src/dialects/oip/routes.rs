//! Both front ends.

use axum::Router;

use super::{grpc, rest};
use crate::state::App;

pub(crate) fn routes() -> Router<App> {
    Router::new().merge(rest::routes()).merge(grpc::routes())
}
