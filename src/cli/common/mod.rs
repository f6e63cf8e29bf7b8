//! What the verbs share.

#[macro_use]
pub(crate) mod notices;

pub(crate) mod checkpoint;
pub(crate) mod choices;
pub(crate) mod closed;
pub(crate) mod column_args;
pub(crate) mod heading;
pub(crate) mod hub_data;
pub(crate) mod interrupt;
pub(crate) mod model;
pub(crate) mod objects;
pub(crate) mod outcome;
pub(crate) mod output;
pub(crate) mod placement;
pub(crate) mod records;
pub(crate) mod scorer_args;
pub(crate) mod sigbus;
pub(crate) mod table;
