//! The description of the server, as OpenAPI 3.1 at `/openapi.json`. Each handler carries what is said of it, and each shape is
//! described by the type that reads or writes it; here is what joins them.

mod document;
mod examples;
mod joined;
mod routed;
mod schemas;
mod served;

pub(crate) use document::finish;
pub(crate) use examples::{ANSWER, MODEL, OTHER_ANSWER, PROMPT, TEXT};
pub(crate) use joined::or;
pub(crate) use routed::{at, tagged, with_parameter, with_reply};
pub(crate) use schemas::{any_of, list, null, number, object, text};
pub(crate) use served::routes;
