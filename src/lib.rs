//! placeholder
pub mod text;
