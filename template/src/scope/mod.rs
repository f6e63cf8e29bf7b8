//! Which variable each name means. Jinja decides this before a template runs: a scope has its own variables for the
//! names that it assigns to, and these start with the value that the name has outside.

mod expressions;
mod names;
mod scopes;
mod walk;

pub(crate) use walk::{Root, resolve};
