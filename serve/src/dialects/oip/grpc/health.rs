//! `grpc.health.v1.Health/Check`, which Kubernetes and balancers ask. `Watch` is not offered: its calls never end, and would
//! keep a server that drains; the protocol has clients do without it then.

use axum::extract::State;
use prost::Message;

use super::{
    super::interface::is_server_ready,
    call::{Call, Reply},
    services::{HEALTH, INFERENCE},
    status::Refusal,
};
use crate::{http::Problem, state::App};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

pub(super) async fn check(
    State(app): State<App>,
    call: Call<CheckRequest>,
) -> Result<Reply<CheckResponse>, Refusal> {
    let service = call.message.service;
    if !["", INFERENCE, HEALTH].contains(&service.as_str()) {
        return Err(Problem::not_found(format!("there is no service {service:?} here")).into());
    }
    let status = match is_server_ready(&app) {
        true => SERVING,
        false => NOT_SERVING,
    };
    Ok(Reply(CheckResponse { status }))
}
