//! A token, as manifests and probes name it.

use serde::{Deserialize, Serialize};

/// A token of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub text: String,
}
