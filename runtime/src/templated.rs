//! Texts that were made by the model's chat template elsewhere.

use std::{borrow::Cow, sync::Once};

use worldpm_ort_bundle::manifest::Token;

use crate::{
    error::{EndingProblem, Error, Result},
    text::{ChatEncoder, ForeignSystem, SystemDefault},
};

/// How such texts become tokens.
#[derive(Debug)]
pub(crate) struct Templated {
    foreign: ForeignSystem,
    system_default: SystemDefault,
    /// The token that is put behind texts without it.
    appended: Option<Token>,
    warned: Once,
}

/// The tokens of a text.
pub(crate) struct TemplatedIds {
    pub(crate) ids: Vec<u32>,
    /// Whether the text begins with a default system prompt that the model was not trained on.
    pub(crate) is_foreign: bool,
}

impl Templated {
    pub(crate) fn new(
        encoder: &ChatEncoder,
        system_default: SystemDefault,
        appended: Option<Token>,
    ) -> Self {
        Self {
            foreign: ForeignSystem::of(encoder),
            system_default,
            appended,
            warned: Once::new(),
        }
    }

    /// # Errors
    /// When the tokenizer fails.
    pub(crate) fn ids(&self, encoder: &ChatEncoder, text: &str) -> Result<TemplatedIds> {
        let mut text = Cow::Borrowed(text);
        let foreign = self.foreign.find(&text);
        if let Some((bytes, own)) = foreign {
            self.warn();
            if self.system_default == SystemDefault::Strip {
                text = Cow::Owned(format!("{own}{}", text.get(bytes..).unwrap_or_default()));
            }
        }
        let missing = self.appended.as_ref();
        let missing = missing.filter(|end| !text.ends_with(&end.text));
        if let Some(end) = missing {
            text.to_mut().push_str(&end.text);
        }
        let mut ids = encoder.encode(&text)?;
        // White space that belongs to a token does not keep a text from ending with it.
        if let Some(end) = missing
            && ids.ends_with(&[end.id, end.id])
        {
            ids.pop();
        }
        Ok(TemplatedIds {
            ids,
            is_foreign: foreign.is_some(),
        })
    }

    fn warn(&self) {
        self.warned.call_once(|| {
            let scored = match self.system_default {
                SystemDefault::Keep => "scored as they are",
                SystemDefault::Strip => "scored with an empty one in its place",
            };
            tracing::warn!(
                "texts come with the default system prompt of the chat template, which the model was not trained on; they \
                 are {scored}. Clients that send an empty system message do not bring it about"
            );
        });
    }
}

/// An error about the end, in words for a text.
pub(crate) fn of_text(error: Error) -> Error {
    match error {
        Error::Ending(EndingProblem::WrongEnd { found, expected }) => {
            Error::Ending(EndingProblem::TextEnd { found, expected })
        }
        other => other,
    }
}
