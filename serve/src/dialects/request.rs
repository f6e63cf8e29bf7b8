//! A request of OpenAI's API and of its imitators: the fields that one of their paths or another knows. Each path takes those
//! that it has a use for.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use worldpm_ort_runtime::json::Json;

use super::items::{Message, Texts, conversation};
use crate::{
    http::Problem,
    scoring::{Asked, Item, Scored},
};

#[derive(Deserialize, ToSchema)]
#[schema(as = OpenAiRequest)]
pub(super) struct Request {
    /// The name of a model. Default: the first one of the server.
    pub(super) model: Option<String>,
    /// What is scored. Send this or `messages`.
    pub(super) input: Option<Texts>,
    /// SGLang's `input`, for `/classify`.
    pub(super) text: Option<Texts>,
    /// The same, as token ids.
    pub(super) input_ids: Option<Texts>,
    /// One conversation, which ends with an assistant's message.
    #[schema(value_type = Option<Vec<Message>>)]
    messages: Option<Vec<Json>>,
    /// Tools that the assistant may call, for chat templates that list them.
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Vec<Json>>,
    /// Refused: a reward model is trained on one template.
    #[schema(value_type = Option<String>)]
    chat_template: Option<Json>,
    /// Refused, unless it is empty.
    #[schema(value_type = Option<Object>)]
    chat_template_kwargs: Option<Json>,
    /// Refused where it is true.
    #[serde(default)]
    add_generation_prompt: bool,
    /// Refused where it is true.
    #[serde(default)]
    continue_final_message: bool,
    /// Whether scores go through an activation: a sigmoid, or a softmax of several. Default: no.
    use_activation: Option<bool>,
    /// `use_activation` as verl's documents write it.
    activation: Option<bool>,
    /// `float` or `base64`, of `f32` with the little end first. Default `float`.
    encoding_format: Option<String>,
    /// Refused where a conversation has more tokens, since it is not cut. A negative number is no limit.
    truncate_prompt_tokens: Option<i64>,
    /// Refused where it is true: a score comes at once.
    #[serde(default)]
    stream: bool,
}

/// Scores, as they were asked for.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Encoded {
    Numbers(Vec<f64>),
    /// The same as `f32`, little end first.
    Base64(String),
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

    /// The scores of these, none of which has more tokens than the client would have it cut to.
    ///
    /// # Errors
    /// As of [`take_items`](Self::take_items), and when one cannot be scored or has more.
    pub(super) async fn scored(&mut self, asked: &Asked) -> Result<Vec<Scored>, Problem> {
        let scored = asked.all(self.take_items()?).await?;
        self.check_lengths(&scored)?;
        Ok(scored)
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
    pub(super) fn encoded(&self, numbers: Vec<f64>) -> Encoded {
        if self.encoding_format.as_deref() != Some("base64") {
            return Encoded::Numbers(numbers);
        }
        // They were of this width.
        #[allow(clippy::cast_possible_truncation)]
        let bytes = numbers
            .iter()
            .flat_map(|&number| (number as f32).to_le_bytes());
        Encoded::Base64(STANDARD.encode(bytes.collect::<Vec<u8>>()))
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
