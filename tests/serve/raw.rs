//! HTTP by hand, for clients that do not behave.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

pub fn connect(socket: &str) -> TcpStream {
    let stream = TcpStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
}

/// A request after whose reply the connection is closed.
pub fn request(path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

/// What comes until the end of the connection.
pub fn rest(stream: &mut impl Read) -> String {
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!(
                "the connection stays open: {}",
                String::from_utf8_lossy(&reply)
            )
        }
        // Whoever sends on after the reply is reset.
        _ => String::from_utf8_lossy(&reply).into_owned(),
    }
}

/// The status of a reply, if there was one.
pub fn status(reply: &str) -> Option<u16> {
    reply.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

pub fn ask(stream: &mut (impl Read + Write), request: &[u8]) -> String {
    // The reply may come before the whole request was taken.
    let _ = stream.write_all(request);
    rest(stream)
}
