//! What serving bundles are made with.

use crate::error::{Error, Result};
use worldpm_ort_bundle::cost::TokenBudget;

/// How a bundle for a server is laid out and sized; with [`Layout::Plain`](worldpm_ort_bundle::Layout::Plain) of no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutOptions {
    /// The name that clients ask for; stages are called after it. Lower-case letters, digits and hyphens, up to 48
    /// of them. Default `reward-model`.
    pub model_name: String,
    /// Most rows (conversations) of a request. Default 8.
    pub rows: u64,
    /// Most tokens of a row. Default 4096, or the model's limit if that is lower. The server's memory pools, and the
    /// shapes that TensorRT is prepared for, are sized for `rows * row_tokens` tokens.
    pub row_tokens: u64,
    /// Whether the stages run in TensorRT. Default `false`.
    pub tensorrt: bool,
    /// Where KServe fetches the models from. Default: a volume claim called like the model.
    pub storage_uri: Option<String>,
    /// The image that KServe runs. Default: Triton 26.06, after whose sources the configuration is written.
    pub image: String,
}

impl Default for LayoutOptions {
    fn default() -> Self {
        Self {
            model_name: "reward-model".into(),
            rows: 8,
            row_tokens: 4096,
            tensorrt: false,
            storage_uri: None,
            image: "nvcr.io/nvidia/tritonserver:26.06-py3".into(),
        }
    }
}

impl LayoutOptions {
    /// What the largest request holds, for the memory of activations: a server runs requests whole.
    #[must_use]
    pub fn budget(&self) -> TokenBudget {
        let tokens = self.rows.saturating_mul(self.row_tokens);
        TokenBudget {
            max_tokens: tokens,
            max_cells: tokens,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let name = &self.model_name;
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty()
            || name.len() > 48
            || !name.chars().all(inner)
            || name.starts_with('-')
            || name.ends_with('-')
        {
            return fault(
                "model_name",
                format!(
                    "'{name}' is no name for a model here: give 1 to 48 lower-case letters, digits and hyphens, \
                     a letter or digit first and last"
                ),
            );
        }
        for (option, value) in [("rows", self.rows), ("row_tokens", self.row_tokens)] {
            if !(1..=1 << 24).contains(&value) {
                return fault(
                    option,
                    format!("is {value}; give a number from 1 to {}", 1 << 24),
                );
            }
        }
        let texts = [
            ("storage_uri", self.storage_uri.as_deref()),
            ("image", Some(self.image.as_str())),
        ];
        for (option, text) in texts {
            let plain = |c: char| c.is_ascii_graphic() && !"\"'\\".contains(c);
            if text.is_some_and(|text| text.is_empty() || !text.chars().all(plain)) {
                return fault(
                    option,
                    "is empty or has spaces, quotes, backslashes or characters outside ASCII"
                        .into(),
                );
            }
        }
        match self.storage_uri.as_deref() {
            Some(uri) if !uri.contains("://") => fault(
                "storage_uri",
                format!("'{uri}' names no kind of storage; give for example pvc://claim/folder"),
            ),
            _ => Ok(()),
        }
    }
}

pub(super) fn fault<T>(option: &str, problem: String) -> Result<T> {
    Err(Error::Option {
        option: option.to_owned(),
        problem,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_would_choke_on_is_refused() {
        type Change = fn(&mut LayoutOptions);
        let cases: [(Change, &str); 12] = [
            (|_| {}, "no error"),
            (|o| o.model_name = "worldpm-72b".into(), "no error"),
            (
                |o| o.storage_uri = Some("s3://bucket/models".into()),
                "no error",
            ),
            (|o| o.model_name = String::new(), "`model_name`"),
            (|o| o.model_name = "WorldPM".into(), "`model_name`"),
            (|o| o.model_name = "../up".into(), "`model_name`"),
            (|o| o.model_name = "a-".into(), "`model_name`"),
            (|o| o.model_name = "a".repeat(49), "`model_name`"),
            (|o| o.rows = 0, "`rows`"),
            (|o| o.row_tokens = u64::MAX, "`row_tokens`"),
            (|o| o.storage_uri = Some("bucket".into()), "`storage_uri`"),
            (|o| o.image = "a\nb: c".into(), "`image`"),
        ];
        for (index, (change, expected)) in cases.into_iter().enumerate() {
            let mut options = LayoutOptions::default();
            change(&mut options);
            let found = options
                .check()
                .map_or_else(|error| error.to_string(), |()| "no error".into());
            assert!(found.contains(expected), "case {index}: {found}");
        }
    }
}
