//! A client of the Open Inference Protocol over gRPC, by hand.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{net::TcpStream, runtime::Runtime};

use crate::{
    grpc_messages::{ModelInferRequest, ModelInferResponse},
    served::Served,
};

pub(crate) struct Client {
    pub(crate) runtime: Runtime,
    pub(crate) connection: SendRequest<Full<Bytes>>,
    pub(crate) address: String,
}

/// How a call ended: its status and message, and the frame of its reply.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: u32,
    pub(crate) message: String,
    pub(crate) frame: Bytes,
}

impl Client {
    pub(crate) fn of(served: &Served) -> Self {
        let runtime = Runtime::new().unwrap();
        let address = served.address.clone();
        let host = address.strip_prefix("http://").unwrap().to_owned();
        let connection = runtime.block_on(async {
            let stream = TcpStream::connect(host).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
            tokio::spawn(connection);
            sender
        });
        Self {
            runtime,
            connection,
            address,
        }
    }

    pub(crate) fn send(&self, path: &str, timeout: Option<&str>, body: Vec<u8>) -> Ended {
        let mut request = Request::post(format!("{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let mut connection = self.connection.clone();
        let (head, body) = self.runtime.block_on(async {
            let reply = connection.send_request(request).await.unwrap();
            let (head, body) = reply.into_parts();
            (head, body.collect().await.unwrap())
        });
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.headers["content-type"], "application/grpc");
        let trailers = body.trailers().cloned().unwrap_or(head.headers);
        let text = |name| trailers.get(name).map(|value| value.to_str().unwrap());
        Ended {
            status: text("grpc-status").unwrap().parse().unwrap(),
            message: text("grpc-message").unwrap_or_default().to_owned(),
            frame: body.to_bytes(),
        }
    }

    pub(crate) fn call<M: Message, R: Message + Default>(
        &self,
        method: &str,
        message: &M,
    ) -> Result<R, Ended> {
        let path = format!("/inference.GRPCInferenceService/{method}");
        read(self.send(&path, None, framed(&message.encode_to_vec())))
    }

    pub(crate) fn infer(&self, request: &ModelInferRequest) -> Result<ModelInferResponse, Ended> {
        self.call("ModelInfer", request)
    }
}

pub(crate) fn read<R: Message + Default>(ended: Ended) -> Result<R, Ended> {
    if ended.status != 0 {
        assert!(ended.frame.is_empty(), "{ended:?}");
        assert!(!ended.message.is_empty(), "{ended:?}");
        return Err(ended);
    }
    let (prefix, message) = ended.frame.split_at(5);
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    assert_eq!((prefix[0], &prefix[1..]), (0, &length[..]));
    Ok(R::decode(message).unwrap())
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}
