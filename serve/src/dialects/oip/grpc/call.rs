//! A unary call: one message in a frame of five bytes and its own, and one back.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use prost::Message;

use super::status::{GRPC, Refusal, good};
use crate::{
    http::{Problem, ProblemKind, body},
    state::App,
};

/// Of a frame: whether the message is compressed, and its length.
const FRAME: usize = 5;

/// What a caller sent.
pub(super) struct Call<M> {
    pub(super) message: M,
    /// How long the caller waits.
    pub(super) timeout: Option<Duration>,
}

impl<M: Message + Default> FromRequest<App> for Call<M> {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(is_grpc) {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response());
        }
        let read = async {
            let timeout = timeout(request.headers())?;
            let frame = body(request, app).await?;
            let message = M::decode(unframed(frame)?)
                .map_err(|error| Problem::invalid(format!("the message is wrong: {error}")))?;
            Ok(Self { message, timeout })
        };
        read.await
            .map_err(|problem: Problem| Refusal::from(problem).into_response())
    }
}

/// `application/grpc`, perhaps with what encodes the messages, which is Protocol Buffers.
fn is_grpc(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    matches!(essence, "application/grpc" | "application/grpc+proto")
}

fn unframed(mut frame: Bytes) -> Result<Bytes, Problem> {
    let broken = || Problem::invalid("the call is not one message in a frame of its length");
    let compressed = frame.try_get_u8().map_err(|_| broken())?;
    let length = frame.try_get_u32().map_err(|_| broken())?;
    if compressed != 0 {
        return Err(Problem::new(
            ProblemKind::MethodNotAllowed,
            "messages are not decompressed: send them as they are",
        ));
    }
    match usize::try_from(length) {
        Ok(length) if length == frame.len() => Ok(frame),
        _ => Err(broken()),
    }
}

/// What the header `grpc-timeout` says: up to eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(duration);
    match parsed {
        Some(timeout) => Ok(Some(timeout)),
        None => Err(Problem::invalid(
            "`grpc-timeout` must be up to eight digits and a unit: H, M, S, m, u or n",
        )),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// What a caller gets.
pub(super) struct Reply<M>(pub(super) M);

impl<M: Message> IntoResponse for Reply<M> {
    fn into_response(self) -> Response {
        let length = self.0.encoded_len();
        let Ok(prefix) = u32::try_from(length) else {
            let problem = Problem::new(ProblemKind::Internal, "the reply is too large");
            return Refusal::from(problem).into_response();
        };
        let mut frame = BytesMut::with_capacity(FRAME + length);
        frame.put_u8(0);
        frame.put_u32(prefix);
        self.0.encode_raw(&mut frame);
        let trailers = async { Some(Ok::<_, Infallible>(good())) };
        let body = Full::new(frame.freeze()).with_trailers(trailers);
        let mut response = Response::new(Body::new(body));
        response.headers_mut().insert(CONTENT_TYPE, GRPC);
        response
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        assert_eq!(duration("5S"), Some(Duration::from_secs(5)));
        assert_eq!(
            duration("99999999H"),
            Some(Duration::from_secs(359_999_996_400))
        );
        assert_eq!(duration("250m"), Some(Duration::from_millis(250)));
        for wrong in ["", "S", "5", "5s", "-5S", "+5S", "100000000S", "5\u{e9}"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn frames() {
        assert_eq!(
            unframed(Bytes::from_static(&[0, 0, 0, 0, 1, 7])).unwrap(),
            &[7][..]
        );
        for wrong in [
            &[][..],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 7],
            &[0, 255, 255, 255, 255, 1],
        ] {
            assert!(
                unframed(Bytes::copy_from_slice(wrong)).is_err(),
                "{wrong:?}"
            );
        }
        let compressed = unframed(Bytes::from_static(&[1, 0, 0, 0, 0])).unwrap_err();
        assert_eq!(compressed.kind, ProblemKind::MethodNotAllowed);
    }
}
