//! Servers to ask, and how they are asked.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::runtime::Runtime;
use worldpm_ort::{Counters, Scorer, ScorerOptions, batch::PlanStats};
use worldpm_ort_runtime::testing::{FakeEngine, FakeOptions};
use worldpm_ort_serve::{ModelOptions, ServeError, ServeOptions, Server};

use crate::support;

/// A server of this process, on a port that was free.
pub struct Served {
    pub address: String,
    // Before the runtime that it lives in.
    server: Option<Server>,
    runtime: Runtime,
}

/// A reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The JSON of a reply that is not a refusal.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A bundle of two narrow layers that scores the last token.
pub fn bundle() -> PathBuf {
    support::bundle(support::SMALL, &["--end-token", ""])
}

/// The same, scored at a token that has to be at the end, as WorldPM is.
pub fn bundle_with_end() -> PathBuf {
    support::bundle(support::SMALL, &[])
}

pub fn local() -> ServeOptions {
    ServeOptions::default().with_addresses(vec![([127, 0, 0, 1], 0).into()])
}

/// A model on an engine that stands in for it.
pub fn fake(name: &str, engine: FakeOptions, options: ScorerOptions) -> ModelOptions {
    let mut model = ModelOptions::with_open(name, bundle(), move || {
        let engine = Arc::new(FakeEngine::start(engine.clone()).unwrap());
        Scorer::open_with_engine(&bundle(), &options, engine)
    });
    model.checks_probes = false;
    model
}

pub fn real(name: &str) -> ModelOptions {
    ModelOptions::new(name, bundle(), ScorerOptions::default())
}

impl Served {
    pub fn start(options: ServeOptions, models: Vec<ModelOptions>) -> Self {
        let served = Self::start_loading(options, models);
        let server = served.server.as_ref().unwrap();
        served.runtime.block_on(server.ready()).unwrap();
        served
    }

    /// Without waiting for the models.
    pub fn start_loading(options: ServeOptions, models: Vec<ModelOptions>) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(Server::start(options, models)).unwrap();
        Self {
            address: server.addresses()[0].clone(),
            server: Some(server),
            runtime,
        }
    }

    pub fn of(model: ModelOptions) -> Self {
        Self::start(local(), vec![model])
    }

    pub fn ready(&self) -> Result<(), ServeError> {
        self.runtime.block_on(self.server.as_ref().unwrap().ready())
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(path, "application/json", body.to_string().as_bytes())
    }

    pub fn send(&self, path: &str, content_type: &str, body: &[u8]) -> Reply {
        let request = agent().post(format!("{}{path}", self.address));
        read(request.content_type(content_type).send(body))
    }

    /// With headers of the test's choice.
    pub fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let mut request = agent().post(format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.send(body.to_string().as_bytes()))
    }

    /// Without the scheme.
    pub fn socket(&self) -> &str {
        self.address.split_once("://").unwrap().1
    }

    pub fn reload(&self) -> Result<(), ServeError> {
        self.runtime
            .block_on(self.server.as_ref().unwrap().reload())
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        ask(&self.address, path, headers, None)
    }

    pub fn get(&self, path: &str) -> Reply {
        read(agent().get(format!("{}{path}", self.address)).call())
    }

    /// What the first model has planned.
    pub fn planned(&self) -> PlanStats {
        self.counters().planned
    }

    /// What the first model has done.
    pub fn counters(&self) -> Counters {
        self.server.as_ref().unwrap().counters().remove(0).1
    }

    /// Ends the server, on a thread of its own.
    pub fn shut_down(mut self) -> std::thread::JoinHandle<()> {
        let server = self.server.take().unwrap();
        std::thread::spawn(move || self.runtime.block_on(server.shut_down()))
    }
}

/// Asks a server, with headers: POST with a body, GET without.
pub fn ask(address: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Reply {
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = body.unwrap_or_default();
    read(agent().run(request.body(body).unwrap()))
}

/// A client that gives every status as it is.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into()
}

fn read(reply: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Reply {
    let mut reply = reply.unwrap();
    Reply {
        status: reply.status().as_u16(),
        headers: reply.headers().clone(),
        body: reply.body_mut().read_to_string().unwrap(),
    }
}
