//! What the verbs share.

#[macro_use]
pub(crate) mod notices;

pub(crate) mod added_args;
pub(crate) mod checkpoint;
pub(crate) mod choices;
pub(crate) mod closed;
pub(crate) mod column_args;
pub(crate) mod files_args;
pub(crate) mod format_args;
pub(crate) mod heading;
pub(crate) mod hub_data;
pub(crate) mod interrupt;
pub(crate) mod model;
pub(crate) mod objects;
pub(crate) mod outcome;
pub(crate) mod output;
pub(crate) mod placement;
pub(crate) mod progress;
pub(crate) mod records;
#[cfg(feature = "remote")]
pub(crate) mod remote_args;
pub(crate) mod rows_out;
pub(crate) mod scorer_args;
pub(crate) mod scoring_args;
pub(crate) mod sigbus;
pub(crate) mod table;
