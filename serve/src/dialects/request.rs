//! A request of OpenAI's API and of its imitators: the fields that one of their paths or another knows. Each path takes those
//! that it has a use for.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;
use worldpm_ort_runtime::json::Json;

use super::items::{Texts, conversation};
use crate::{
    http::Problem,
    scoring::{Item, Scored},
};

#[derive(Deserialize)]
pub(super) struct Request {
    pub(super) model: Option<String>,
    pub(super) input: Option<Texts>,
    /// SGLang's `input`.
    pub(super) text: Option<Texts>,
    pub(super) input_ids: Option<Texts>,
    messages: Option<Vec<Json>>,
    tools: Option<Vec<Json>>,
    chat_template: Option<Json>,
    chat_template_kwargs: Option<Json>,
    #[serde(default)]
    add_generation_prompt: bool,
    #[serde(default)]
    continue_final_message: bool,
    use_activation: Option<bool>,
    /// `use_activation` as verl's documents write it.
    activation: Option<bool>,
    encoding_format: Option<String>,
    truncate_prompt_tokens: Option<i64>,
    #[serde(default)]
    stream: bool,
}

impl Request {
    /// What is to be scored: `input` or `messages`.
    ///
    /// # Errors
    /// When there is none of them, or both; messages that are no conversation; a field that asks for what cannot be had.
    pub(super) fn take_items(&mut self) -> Result<Vec<Item>, Problem> {
        self.check()?;
        match (self.input.take(), self.messages.take()) {
            (Some(Texts(items)), None) => Ok(items),
            (None, Some(messages)) => {
                self.check_chat()?;
                let one = conversation(messages, self.tools.take())?;
                Ok(vec![Item::Conversation(one)])
            }
            (Some(_), Some(_)) => Err(Problem::invalid("`input` and `messages`: send one of them")),
            (None, None) => Err(Problem::invalid(
                "there is nothing to score: send `input` or `messages`",
            )),
        }
    }

    /// Whether scores go through an activation: only where that is asked for.
    pub(super) fn activates(&self) -> bool {
        self.use_activation.or(self.activation) == Some(true)
    }

    fn check(&self) -> Result<(), Problem> {
        if self.stream {
            return Err(Problem::invalid(
                "`stream`: a score comes at once; leave the field out",
            ));
        }
        match self.encoding_format.as_deref() {
            None | Some("float" | "base64") => Ok(()),
            Some(other) => Err(Problem::invalid(format!(
                "`encoding_format`: {other:?} is not given; ask for \"float\" or \"base64\""
            ))),
        }
    }

    /// Numbers as they were asked for: a list, or the base64 of their bytes as `f32`, little end first, which OpenAI's client
    /// asks for by itself.
    pub(super) fn encoded(&self, numbers: Vec<f64>) -> Value {
        if self.encoding_format.as_deref() != Some("base64") {
            return numbers.into();
        }
        // They were of this width.
        #[allow(clippy::cast_possible_truncation)]
        let bytes = numbers
            .iter()
            .flat_map(|&number| (number as f32).to_le_bytes());
        STANDARD.encode(bytes.collect::<Vec<u8>>()).into()
    }

    /// Refuses what would change the text that is scored.
    fn check_chat(&self) -> Result<(), Problem> {
        let is_given = |value: &Option<Json>| match value {
            None | Some(Json::Null) => false,
            Some(Json::Object(fields)) => !fields.is_empty(),
            Some(_) => true,
        };
        let asked = [
            ("chat_template", is_given(&self.chat_template)),
            ("chat_template_kwargs", is_given(&self.chat_template_kwargs)),
            ("add_generation_prompt", self.add_generation_prompt),
            ("continue_final_message", self.continue_final_message),
        ];
        match asked.iter().find(|(_, asked)| *asked) {
            None => Ok(()),
            Some((field, _)) => Err(Problem::invalid(format!(
                "`{field}`: a reward model is trained on one template, which is used as it is: leave the field out"
            ))),
        }
    }

    /// Refuses a text that is longer than the client wants it cut to: cut, it would lose the end at which it is scored, or
    /// its beginning.
    pub(super) fn check_lengths(&self, scored: &[Scored]) -> Result<(), Problem> {
        let limit = self.truncate_prompt_tokens;
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else {
            return Ok(());
        };
        match scored.iter().find(|scored| scored.reward.tokens > limit) {
            None => Ok(()),
            Some(scored) => Err(Problem::invalid(format!(
                "`truncate_prompt_tokens`: a conversation has {} tokens, and is not cut to {limit}: it would lose its end or \
                 its beginning, and with it its meaning; leave the field out",
                scored.reward.tokens
            ))),
        }
    }
}
