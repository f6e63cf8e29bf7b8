//! Layouts of data sets: what the columns of a row mean.
//!
//! A layout is found by the columns of a row, and by the kinds of what they hold (`form`). It stays for a whole data set
//! (`rows`). `read` makes conversations of a row.

mod column;
mod form;
mod join;
mod kind;
mod message;
mod names;
mod preference;
mod read;
mod rows;
mod transcript;
mod turns;

pub(super) use column::Column;
pub(super) use names::Columns;
pub use names::{ColumnNames, ColumnNamesError};
pub use rows::{Layout, RowError, RowReader};
