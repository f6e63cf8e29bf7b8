//! What a machine has, and what is planned for it.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod doctor;
mod inspect;
mod library;
mod plan;
mod planned;
mod stages;
