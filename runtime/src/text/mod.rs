//! From conversation to token ids, exactly as Hugging Face `transformers` does it.
//!
//! [`ChatEncoder`] renders a [`Conversation`] with the checkpoint's own chat template and encodes the text with the
//! checkpoint's own tokenizer. [`LengthRule`] says what happens to a conversation that is too long.

mod config;
mod content_tokens;
mod conversation;
mod conversation_error;
mod encoder;
mod error;
mod files;
mod foreign_system;
mod guard;
mod handling;
mod left_out;
mod length;
mod literal;
mod long;
mod options;
mod parallel;
mod pipeline;
mod roles;
mod special;
mod template;
mod tokenizer;
mod truncation;

pub use conversation::{Conversation, Message};
pub use conversation_error::ConversationError;
pub use encoder::ChatEncoder;
pub use error::TextError;
pub(crate) use foreign_system::ForeignSystem;
pub use handling::{SpecialTokenHandling, SystemDefault};
pub use length::{Encoded, LengthRule};
pub use options::TextOptions;
pub use roles::{ROLES, TEMPLATE_ROLES};
pub use truncation::Truncation;
