use std::fmt;

/// How the end of a rendered conversation is not what the model's pooling rule needs. Tokens are given with their text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndingProblem {
    /// There are no tokens.
    NoTokens,
    /// It ends with another token than the one at which the model is scored.
    WrongEnd {
        /// The last token.
        found: String,
        /// The one that is due.
        expected: String,
    },
    /// A text that was templated elsewhere ends with another token than the one at which the model is scored.
    TextEnd {
        /// The last token.
        found: String,
        /// The one that is due.
        expected: String,
    },
    /// A padding token stands before the end.
    PaddingInside {
        /// The padding token.
        token: String,
        /// Where it stands.
        position: usize,
        /// Tokens of the conversation.
        tokens: usize,
    },
    /// The padding token before which the model is scored is not there.
    NoPadding {
        /// The last token.
        found: String,
        /// The padding token.
        token: String,
    },
    /// There is nothing but padding.
    OnlyPadding {
        /// The padding token.
        token: String,
    },
}

impl fmt::Display for EndingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTokens => f.write_str("the conversation has no tokens"),
            Self::WrongEnd { found, expected } => write!(
                f,
                "the rendered conversation ends with {found}, and the model is scored at {expected}; \
                 use the chat template that was published with the model"
            ),
            Self::TextEnd { found, expected } => write!(
                f,
                "the text ends with {found}, and the model is scored at {expected}, which some clients take off: send \
                 the text with that token at its end, or have it put there (--append-end-token)"
            ),
            Self::PaddingInside {
                token,
                position,
                tokens,
            } => write!(
                f,
                "the padding token {token} stands at position {position} of {tokens}, and the model scores the \
                 token before the first one; remove it from the conversation's text"
            ),
            Self::NoPadding { found, token } => write!(
                f,
                "the rendered conversation ends with {found} and not with the padding token {token}, before \
                 which the model is scored; use the chat template that was published with the model"
            ),
            Self::OnlyPadding { token } => {
                write!(
                    f,
                    "the conversation is nothing but the padding token {token}"
                )
            }
        }
    }
}
