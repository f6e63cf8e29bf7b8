//! What is known of the columns of files before rows are read.

use std::sync::Arc;

use worldpm_ort_runtime::json::Object;

#[cfg(feature = "parquet")]
use crate::table;
use crate::{error::DataError, format::Format};

/// What is known of the columns of a file before rows are read.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// Nothing: each row has its own.
    Open,
    /// The same, but that there are these among them, with values of their types.
    Like(Arc<Object>),
    Header {
        names: Arc<[String]>,
        separator: u8,
    },
    #[cfg(feature = "parquet")]
    Table(arrow_schema::SchemaRef),
}

impl Shape {
    /// How the columns of another file differ, for a message that goes on with `in FIRST`.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        match (self, other) {
            (Self::Header { names, .. }, Self::Header { names: others, .. }) => {
                let (ours, theirs) = (names.join(", "), others.join(", "));
                (names != others).then(|| format!("its columns are {theirs}, and those {ours}"))
            }
            #[cfg(feature = "parquet")]
            (Self::Table(schema), Self::Table(other)) => table::difference(schema, other),
            _ => None,
        }
    }

    /// Whether rows come as parts of tables.
    pub(crate) fn is_table(&self) -> bool {
        match self {
            Self::Open | Self::Like(_) | Self::Header { .. } => false,
            #[cfg(feature = "parquet")]
            Self::Table(_) => true,
        }
    }

    /// Refuses columns of a table whose values text cannot have; of those that are `kept`.
    pub(crate) fn check_json(
        &self,
        format: Format,
        kept: impl Fn(&str) -> bool,
    ) -> Result<(), DataError> {
        #[cfg(feature = "parquet")]
        if let Self::Table(schema) = self {
            let mut kept = schema.fields().iter().filter(|field| kept(field.name()));
            if let Some(field) = kept.find(|field| !table::is_json(field.data_type())) {
                return Err(DataError::Encode {
                    format,
                    problem: format!(
                        "the column `{}` is {}, which text cannot hold: write Parquet (--output-format parquet), or leave \
                         columns out (--only-scores)",
                        field.name(),
                        field.data_type()
                    ),
                });
            }
        }
        #[cfg(not(feature = "parquet"))]
        let _ = (format, kept);
        Ok(())
    }

    /// Columns that there are beside those of the rows.
    pub(crate) fn like(&self) -> Option<Arc<Object>> {
        match self {
            Self::Like(columns) => Some(Arc::clone(columns)),
            _ => None,
        }
    }

    /// The names of all columns, where they are known.
    pub(crate) fn names(&self) -> Option<Vec<&str>> {
        match self {
            Self::Open | Self::Like(_) => None,
            Self::Header { names, .. } => Some(names.iter().map(String::as_str).collect()),
            #[cfg(feature = "parquet")]
            Self::Table(schema) => Some(
                schema
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str())
                    .collect(),
            ),
        }
    }
}
