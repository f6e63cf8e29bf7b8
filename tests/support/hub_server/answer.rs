//! What is asked and what is answered, and the ways in which answers are spoiled.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use serde_json::json;

/// What the server does to some requests instead of answering them well.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body.
    Stall(usize),
    /// The file is announced with this size.
    Announce(u64),
    /// These bytes are sent, without a range.
    Body(Vec<u8>),
    /// The body has no length, and ends when the connection does.
    NoLength,
    /// Ranges are not known.
    NoRange,
    /// The tag that the file is announced with.
    Etag(String),
    /// The answer is changed before it is sent.
    Odd(fn(&mut Answer, &Request)),
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// By its length.
    #[default]
    Length,
    /// By the end of the connection.
    Close,
    /// In chunks of a few thousand bytes.
    Chunked,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    /// Whether it came to the server of large files.
    pub large: bool,
    pub body: Vec<u8>,
}

/// An answer before faults.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub framing: Framing,
    /// Bytes of the body after which the connection ends.
    pub cut: Option<usize>,
    /// A pause after every byte of the head, or of the body.
    pub drip_head: Option<Duration>,
    pub drip_body: Option<Duration>,
}

impl Answer {
    /// Leaves a header out.
    pub fn without(&mut self, name: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// Sets a header, in place of the one that is there.
    pub fn with(&mut self, name: &'static str, value: impl ToString) {
        self.without(name);
        self.headers.push((name, value.to_string()));
    }

    pub(super) fn new(status: u16, headers: Vec<(&'static str, String)>) -> Self {
        Self {
            status,
            headers,
            ..Self::default()
        }
    }

    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let headers = vec![
            ("X-Error-Code", code.to_owned()),
            ("X-Error-Message", message.to_owned()),
        ];
        Self::new(status, headers)
    }

    pub(super) fn json(value: &serde_json::Value) -> Self {
        Self {
            status: 200,
            headers: vec![("Content-Type", "application/json".to_owned())],
            body: serde_json::to_vec(value).unwrap(),
            ..Self::default()
        }
    }
}

/// Writes all at once, or a byte at a time.
pub(super) fn drip(
    mut stream: &TcpStream,
    bytes: &[u8],
    pause: Option<Duration>,
) -> std::io::Result<()> {
    let Some(pause) = pause else {
        return stream.write_all(bytes);
    };
    for byte in bytes {
        stream.write_all(std::slice::from_ref(byte))?;
        thread::sleep(pause);
    }
    Ok(())
}

pub(super) fn read_request(
    reader: &mut BufReader<TcpStream>,
    large: bool,
) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        range: None,
        authorization: None,
        large,
        body: Vec::new(),
    };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            request.body = vec![0; length];
            reader.read_exact(&mut request.body)?;
            return Ok(Some(request));
        };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value),
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => request.authorization = Some(value),
            _ => {}
        }
    }
}
