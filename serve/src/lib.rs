//! Serves the scores of reward models over HTTP and gRPC, in the dialects that clients already speak.
//!
//! [`Server::start`] binds the listeners and returns; models are loaded meanwhile. Every request becomes items
//! that are put into the one queue of their [`Scorer`](worldpm_ort_runtime::Scorer), where conversations of all clients
//! share packs and prompts. A dialect is a file in `dialects/`: it knows the shapes of its requests and replies, and
//! nothing of batches.
//!
//! ```no_run
//! use worldpm_ort_runtime::ScorerOptions;
//! use worldpm_ort_serve::{ModelOptions, ServeOptions, Server};
//!
//! let model = ModelOptions::new("worldpm", "bundle", ScorerOptions::default());
//! let runtime = tokio::runtime::Runtime::new()?;
//! runtime.block_on(async {
//!     let server = Server::start(ServeOptions::default(), vec![model]).await?;
//!     println!("listening on {}", server.addresses().join(", "));
//!     server.run_until_signal().await
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dialects;
mod error;
mod http;
mod models;
mod net;
mod openapi;
mod ops;
mod options;
mod page;
mod scoring;
mod security;
mod server;
mod state;

pub use error::ServeError;
pub use models::{ModelOptions, ReloadWay};
pub use ops::{OpsOptions, Otlp};
pub use options::ServeOptions;
pub use security::{ApiKey, SecurityOptions, TlsFiles};
pub use server::Server;
