//! What is done about texts that are not what the model was trained on.

/// What is done with a text that was templated elsewhere and begins with the default system prompt of the model's
/// template, where the model was trained with an empty system prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SystemDefault {
    /// It is scored as it is.
    #[default]
    Keep,
    /// It is scored with the empty system prompt in its place.
    Strip,
}

/// What the text of a special token stands for in the content of a conversation. Texts and token ids that were templated
/// elsewhere are not concerned: nothing tells their content from the template's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecialTokenHandling {
    /// That token, as in `transformers`. An answer can feign the end of itself, or another turn.
    #[default]
    Parse,
    /// Ordinary text, as with `split_special_tokens` in `transformers`; the template's own tokens stay special. Keeps a
    /// second copy of the tokenizer.
    Literal,
    /// Nothing: the conversation is refused.
    Reject,
}
