//! `POST v2/models/MODEL/infer`.

use axum::{
    extract::{self, State},
    response::Response,
};

use super::{super::inference, address::Address, refusal::Oip, reply::reply, request::Request};
use crate::{
    http::{Client, Failure, body},
    state::App,
};

pub(super) async fn infer(
    State(app): State<App>,
    client: Client,
    address: Address,
    request: extract::Request,
) -> Result<Response, Failure<Oip>> {
    let headers = request.headers().clone();
    let body = body(request, &app).await?;
    let request = Request::read(address, &headers, body)?;
    let inferred = inference::infer(&app, client, request.inference).await?;
    let id = request.id.as_deref();
    Ok(reply(&inferred, id, &request.binary, request.all_binary))
}
