//! Shapes that others read and write for us, as the description of the server has them.

use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{AdditionalProperties, ObjectBuilder, Ref},
    },
};

use crate::{
    dialects::items::{Message, TextOrMessages},
    openapi::{ANSWER, MODEL, OTHER_ANSWER, PROMPT, any_of, list, number, object, text},
};

pub(super) const TAG: &str = "Native";

type Named = (String, RefOr<Schema>);

/// What the model says of a conversation: the fields of the runtime's own answer.
pub(super) struct Numbers;

impl ToSchema for Numbers {}

impl PartialSchema for Numbers {
    fn schema() -> RefOr<Schema> {
        let of_label = AdditionalProperties::RefOr(f64::schema());
        object("What the model says of a conversation; raw.")
            .property(
                "score",
                number("Of a model with one label; of one that scores steps, what `--reduce` makes of them."),
            )
            .property(
                "scores",
                object("Those of a model with several labels, by label.")
                    .additional_properties(Some(of_label)),
            )
            .property("steps", list(number("The probability that the step is right.")))
            .property("tokens", usize::schema())
            .property("truncated", bool::schema())
            .required("tokens")
            .into()
    }
}

/// The `id` of a record, which its answer has too.
pub(super) fn id() -> Schema {
    let forms = [text("A text.").into(), number("Or a number.").into()];
    any_of("The record's own, as it was given.", forms)
}

/// One conversation, or two that are compared.
pub(super) struct Record;

impl ToSchema for Record {
    fn schemas(schemas: &mut Vec<Named>) {
        schemas.push((Message::name().into(), Message::schema()));
    }
}

impl PartialSchema for Record {
    fn schema() -> RefOr<Schema> {
        let forms = [
            messages().into(),
            conversation().into(),
            exchange().into(),
            pair().into(),
        ];
        let about =
            "One conversation, or a pair of them. A conversation ends with an assistant's message.";
        any_of(about, forms).into()
    }
}

/// A record, or several of them.
pub(super) struct ScoreRequest;

impl ToSchema for ScoreRequest {
    fn schemas(schemas: &mut Vec<Named>) {
        schemas.push((Record::name().into(), Record::schema()));
        Record::schemas(schemas);
    }
}

impl PartialSchema for ScoreRequest {
    fn schema() -> RefOr<Schema> {
        let record = Ref::from_schema_name(Record::name());
        let records = object("Records, each with an answer of its own.")
            .property("model", model())
            .property("records", list(record.clone()))
            .required("records");
        any_of(
            "A record, or a list of them.",
            [record.into(), records.into()],
        )
        .into()
    }
}

/// Two conversations.
pub(super) struct Comparison;

impl ToSchema for Comparison {
    fn schemas(schemas: &mut Vec<Named>) {
        TextOrMessages::schemas(schemas);
    }
}

impl PartialSchema for Comparison {
    fn schema() -> RefOr<Schema> {
        pair().into()
    }
}

/// One conversation.
pub(super) struct OneConversation;

impl ToSchema for OneConversation {
    fn schemas(schemas: &mut Vec<Named>) {
        TextOrMessages::schemas(schemas);
    }
}

impl PartialSchema for OneConversation {
    fn schema() -> RefOr<Schema> {
        let forms = [messages().into(), conversation().into(), exchange().into()];
        any_of("One conversation, in any form of a record.", forms).into()
    }
}

fn model() -> Schema {
    text("The name of a model. Default: the first one of the server.")
}

fn messages() -> Schema {
    list(Ref::from_schema_name(Message::name()))
}

/// What each form of a record may have besides.
fn record(about: &str) -> ObjectBuilder {
    object(about)
        .property("model", model())
        .property("id", id())
        .property(
            "system",
            text("A system message in front of the others; also `system_prompt`."),
        )
        .property("tools", list(object("A tool that the assistant may call.")))
}

fn conversation() -> ObjectBuilder {
    record("A conversation.")
        .property("messages", messages())
        .required("messages")
}

fn exchange() -> ObjectBuilder {
    record("A prompt and its answer: both texts, or both messages.")
        .property("prompt", TextOrMessages::schema())
        .property("response", TextOrMessages::schema())
        .required("prompt")
        .required("response")
}

fn pair() -> ObjectBuilder {
    record("Two answers: whole conversations, or what follows `prompt`.")
        .property("prompt", TextOrMessages::schema())
        .property("chosen", TextOrMessages::schema())
        .property("rejected", TextOrMessages::schema())
        .required("chosen")
        .required("rejected")
}

/// A pair, as requests have it.
pub(super) fn pair_example() -> Value {
    json!({"model": MODEL, "prompt": PROMPT, "chosen": ANSWER, "rejected": OTHER_ANSWER})
}

/// A scored conversation, as replies have it.
pub(super) fn scored_example(score: f64) -> Value {
    json!({
        "score": score,
        "tokens": 42,
        "scored_token": {"position": 41, "id": 151_643, "text": "<|endoftext|>"},
        "timings": {"tokenizing_ms": 0.1, "queued_ms": 2.1, "computing_ms": 10.5},
    })
}

/// The same with more fields.
pub(super) fn scored_with(score: f64, fields: &Value) -> Value {
    let mut scored = scored_example(score);
    if let (Value::Object(all), Value::Object(more)) = (&mut scored, fields) {
        all.extend(more.clone());
    }
    scored
}
