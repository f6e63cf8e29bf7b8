//! Input records: what a line of JSON, or a row of a table, asks to have scored.
//!
//! The plain forms:
//!
//! | form | scored |
//! |---|---|
//! | `{"messages": […]}`, optional `tools` | one conversation |
//! | `[…]`, a bare list of messages | one conversation |
//! | `{"prompt": …, "response": …}` | one conversation |
//! | `{"chosen": …, "rejected": …}`, optional `prompt` | a pair |
//! | `{"responses": […]}`, optional `prompt` | candidates |
//! | `{"chosen": […], "rejected": […]}`, lists of answers, optional `prompt` | candidates in two groups |
//!
//! A message is an object with `role` and `content`; this module takes lists of
//! messages as they are, and their content is checked where they become text:
//! it is a string, a list of parts of type `text`, or in an assistant's message for
//! a model that scores steps a list of strings, the steps.
//! `prompt` with `response`, or with `chosen` and `rejected`, are either all
//! strings (one user turn and one assistant turn) or all lists of messages (the
//! prompt's followed by the completion's). Without `prompt`, `chosen` and
//! `rejected` are lists that hold whole conversations. A column that repeats
//! another is no matter: a string `prompt` beside lists that open with it, and
//! `messages` that are `chosen` again, as in UltraFeedback.
//!
//! Other [layouts](Layout) are those of published data sets, found by their columns, or by [`ColumnNames`]. An input
//! of plain forms may have all of them; of another layout, all records have that one. `docs/records.md` lists them.
//!
//! Any record may have an `id` (string or number), which is handed back as it
//! was given, and any object form may have `tools`, and a `system` prompt (also
//! called `system_prompt`): a string, which becomes a system message in front.
//! A conversation that has one there must have the same. Other fields are not
//! used, since data sets carry more columns than are scored
//! ([`Record::unused`] names them), and a field that is `null` counts as
//! absent. But one that holds a part of the conversation in some layout is not passed over: `context` beside a
//! `prompt` is an error, unless it says what is there already. What could be read in two ways is an error, never a guess.
//!
//! [`RecordReader`] reads streams of JSON, [`RowReader`] rows that were read already, [`Record::from_slice`] and
//! [`Record::from_value`] single records.

mod body;
mod entry;
mod error;
mod fields;
mod format;
mod layout;
mod parts;
mod place;
mod reader;
mod record;
mod side;
mod source;
mod stored;

pub use body::{Body, Candidate, Group, RawConversation, Split};
pub use entry::{CandidateReward, Entry, EntryError, RecordReward};
pub use error::{NearLayout, RecordError, RecordErrorKind};
pub use format::is_header;
pub use layout::{ColumnNames, ColumnNamesError, Layout, RowError, RowReader};
pub use place::{NoPlace, Place};
pub use reader::{DEFAULT_MAX_RECORD_BYTES, RecordReader};
pub use record::Record;
pub use side::Side;
pub use stored::{NotStored, restore, store};

#[cfg(test)]
mod tests;
