//! What the text of special tokens in the content of conversations comes to.

use std::sync::Arc;

use super::{
    conversation::Conversation,
    conversation_error::ConversationError,
    encoder::ChatEncoder,
    error::TextError,
    guard::{Guard, changed},
    handling::SpecialTokenHandling,
    literal::Literal,
};

impl ChatEncoder {
    /// Whether a conversation's content, or what else a template may copy of it, spells a special token. The step token is
    /// not meant: content is where it belongs.
    pub fn holds_special_token(&self, conversation: &Conversation) -> bool {
        let guard = self.guard();
        guard.is_ok_and(|guard| guard.find(conversation, self.step_token()).is_some())
    }

    /// What encodes a conversation: another encoder than this one where its content could spell special tokens, which
    /// are to be ordinary text.
    ///
    /// # Errors
    ///
    /// For content that is refused.
    pub(super) fn of_content(
        &self,
        conversation: &Conversation,
    ) -> Result<Option<&Self>, TextError> {
        match self.options().special_tokens {
            SpecialTokenHandling::Parse => Ok(None),
            SpecialTokenHandling::Literal => {
                if !self.guard()?.may_stand_in(conversation) {
                    return Ok(None);
                }
                let (literal, names) = self.literal_encoder()?;
                names.check(conversation)?;
                Ok(Some(literal))
            }
            SpecialTokenHandling::Reject => {
                conversation.validate()?;
                match self.guard()?.find(conversation, None) {
                    Some((place, token)) => {
                        let token = token.to_owned();
                        Err(ConversationError::SpecialToken { place, token }.into())
                    }
                    None => Ok(None),
                }
            }
        }
    }

    /// The text to encode of a conversation that was [prepared](Self::prepare).
    ///
    /// # Errors
    ///
    /// As [`ChatEncoder::render`]; for a template that makes special tokens of content that is refused where it spells them.
    pub(super) fn text_of(&self, conversation: &Conversation) -> Result<String, TextError> {
        let marker = self.options().system_marker;
        let templates = self.templates();
        if let Some(literal) = self.literal() {
            return literal.render(templates, conversation, marker);
        }
        let text = templates.render(conversation, marker)?;
        if self.options().special_tokens == SpecialTokenHandling::Reject {
            self.require_own_tokens(conversation, &text)?;
        }
        Ok(text)
    }

    /// Refuses a text whose special tokens are not those of the same conversation without a part in any.
    fn require_own_tokens(&self, conversation: &Conversation, text: &str) -> Result<(), TextError> {
        let guard = self.guard()?;
        if !guard.may_stand_in(conversation) {
            return Ok(());
        }
        let without = |text: &str| guard.without_signs(text);
        let without = changed(conversation, &without);
        let without = self
            .templates()
            .render(&without, self.options().system_marker);
        let step = self.step_token();
        match without {
            Ok(without) if guard.sequence(&without, step) == guard.sequence(text, step) => Ok(()),
            _ => Err(TextError::SpecialTokens {
                problem: "the chat template, or the cut of a long message, makes some of the content: take out what looks \
                          like them"
                    .to_owned(),
            }),
        }
    }

    fn guard(&self) -> Result<&Arc<Guard>, TextError> {
        let found = self.guard_cell().get_or_init(|| {
            let exchange = Conversation::exchange("a", "b");
            let mut probe = exchange.clone();
            probe.messages.extend(exchange.messages);
            let probe = self
                .templates()
                .render(&probe, self.options().system_marker);
            let probe = probe.ok();
            let guard = Guard::of(self.tokenizer(), self.step_token(), probe.as_deref());
            guard.map(Arc::new)
        });
        found.as_ref().map_err(|problem| failed(problem))
    }

    /// The encoder to which special tokens in content are ordinary text.
    fn literal_encoder(&self) -> Result<(&Self, &Literal), TextError> {
        let guard = self.guard()?;
        let made = self.literal_cell().get_or_init(|| {
            let literal = Literal::of(self.tokenizer(), Arc::clone(guard), self.step_token());
            let (tokenizer, literal) = literal?;
            Ok(self.with_literal(tokenizer, literal))
        });
        let encoder = made.as_ref().map_err(|problem| failed(problem))?;
        match encoder.literal() {
            Some(literal) => Ok((encoder, literal)),
            None => Err(failed("the tokenizer has no copy")),
        }
    }
}

fn failed(problem: &str) -> TextError {
    TextError::SpecialTokens {
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
