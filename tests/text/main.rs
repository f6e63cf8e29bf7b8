//! How conversations become tokens.

#![allow(clippy::unwrap_used)]

#[path = "../support/synthetic.rs"]
mod synthetic;

mod files;
mod goldens;
mod made;
mod tokenizers;
