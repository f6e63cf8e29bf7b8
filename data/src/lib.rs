//! Data sets of conversations: rows of JSON, CSV, Parquet and Arrow files in, and out again with every column kept.
//!
//! [`Files`] finds the files that some inputs stand for; a [`DataSet`] knows their format, and gives their [`Row`]s one after
//! another, in bounded memory. A row is a [`Record`](worldpm_ort_runtime::records::Record) to score, and its [`Columns`], to give back.
//! [`Writer`] takes these with the answers, and makes a data set of them: the columns of the input in their order, then the
//! [added ones](added).
//!
//! ```
//! use worldpm_ort_data::{DataSet, Files, ReadOptions};
//!
//! let folder = tempfile::tempdir()?;
//! let file = folder.path().join("in.csv");
//! std::fs::write(&file, "prompt,response\nTips?,Sleep.\n")?;
//! let rows = DataSet::open(Files::find(&[file])?, &ReadOptions::default())?.rows(|_| ());
//! for row in rows {
//!     let (line, record) = row.read?;
//!     assert_eq!((line, record.id), (2, None));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With the feature `object-store`, which is off by default, an input may also be the URL of an object, such as
//! `s3://BUCKET/data/*.parquet`.
//!
//! Without the feature `parquet`, which is on by default, Parquet and Arrow files are refused, and nothing is compiled for
//! them.

pub mod added;
mod error;
mod files;
mod format;
mod input;
mod numeric;
mod options;
mod part;
mod place;
mod row;
mod rows;
mod sets;
mod shape;
#[cfg(feature = "parquet")]
mod table;
mod write;

pub use added::{AddedColumns, RowForm};
pub use error::DataError;
pub use files::Files;
pub use format::{Compression, Format};
pub use numeric::Numeric;
pub use options::{ReadOptions, WriteOptions};
pub use part::Part;
pub use row::{Columns, PlainRow, Row};
pub use rows::{PlainRows, Rows};
pub use sets::DataSet;
pub use write::{Compressor, Writer};
