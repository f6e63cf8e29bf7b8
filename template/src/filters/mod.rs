//! Jinja's filters.

mod apply;
mod generators;
mod getter;
mod html;
mod numbers;
mod sequences;
mod sort;
mod table;
mod text;

pub(crate) use table::FILTERS;
