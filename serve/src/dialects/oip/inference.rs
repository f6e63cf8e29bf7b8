//! Named tensors become items, and scores become tensors: for both front ends.

use std::time::{Duration, Instant};

use bytes::Bytes;
use worldpm_ort_runtime::{
    Conversation, Output, Reward, Scorer,
    records::{Body, Record},
};

use super::{
    interface::{REWARDS, check_version, outputs},
    tensor::{Data, Datatype, Tensor},
};
use crate::{
    http::{Client, Problem, ProblemKind},
    scoring::{Asked, Item, Scored},
    state::App,
};

/// What a request asks for.
pub(super) struct Inference {
    pub(super) model: String,
    pub(super) version: Option<String>,
    pub(super) inputs: Vec<Tensor>,
    /// Names of outputs; none for what the model gives by itself.
    pub(super) outputs: Vec<String>,
    /// How long it may take. Default: as long as the server's own limit permits.
    pub(super) timeout: Option<Duration>,
}

/// What came of it.
pub(super) struct Inferred {
    pub(super) model: String,
    pub(super) outputs: Vec<Scores>,
}

/// FP32 scores of N conversations, row by row.
pub(super) struct Scores {
    pub(super) name: &'static str,
    pub(super) shape: [usize; 2],
    pub(super) values: Vec<f32>,
}

impl Scores {
    /// As the binary extension has them.
    pub(super) fn raw(&self) -> Bytes {
        let bytes = self.values.iter().flat_map(|value| value.to_le_bytes());
        bytes.collect()
    }
}

pub(super) async fn infer(
    app: &App,
    client: Client,
    inference: Inference,
) -> Result<Inferred, Problem> {
    let begun = Instant::now();
    let mut asked = Asked::new(app, client, Some(&inference.model))?;
    check_version(inference.version.as_deref())?;
    if let Some(deadline) = inference.timeout.and_then(|time| begun.checked_add(time)) {
        asked = asked.until(deadline);
    }
    let names = wanted(&asked.scorer, inference.outputs)?;
    let most = app.options().max_request_conversations;
    let scored = asked.all(items(inference.inputs, most)?).await?;
    let mut values = Vec::with_capacity(scored.len());
    for Scored { reward, .. } in &scored {
        values.extend(row(reward)?);
    }
    let shape = [scored.len(), values.len() / scored.len().max(1)];
    let outputs = names.into_iter().map(|name| Scores {
        name,
        shape,
        values: values.clone(),
    });
    Ok(Inferred {
        model: asked.model.name().to_owned(),
        outputs: outputs.collect(),
    })
}

/// The outputs that a request names, or the one that a model gives by itself.
fn wanted(scorer: &Scorer, names: Vec<String>) -> Result<Vec<&'static str>, Problem> {
    let known = outputs(scorer);
    if names.is_empty() {
        return Ok(vec![known[0].name]);
    }
    let mut wanted = Vec::new();
    for name in names {
        let Some(spec) = known.iter().find(|spec| spec.name == name) else {
            let [own, _] = known.map(|spec| spec.name);
            return Err(Problem::invalid(format!(
                "the model has no output {name:?}; it has `{own}`, and `{REWARDS}` for the same"
            )));
        };
        if wanted.contains(&spec.name) {
            return Err(Problem::invalid(format!(
                "output {name:?} is asked for twice"
            )));
        }
        wanted.push(spec.name);
    }
    Ok(wanted)
}

fn row(reward: &Reward) -> Result<Vec<f32>, Problem> {
    if let Output::Labels(labels) = &reward.output {
        return Ok(labels.values().to_vec());
    }
    let score = reward.score().map_err(|error| {
        Problem::invalid(format!(
            "{error}; a tensor has one row of numbers for a conversation, so ask /v1/score"
        ))
    })?;
    Ok(vec![score.score])
}

/// The inputs of a request, each by what it is for.
#[derive(Default)]
struct Inputs {
    text: Option<Tensor>,
    ids: Option<Tensor>,
    conversation: Option<Tensor>,
    mask: Option<Tensor>,
    lengths: Option<Tensor>,
    add_end: Option<Tensor>,
}

fn items(tensors: Vec<Tensor>, most: usize) -> Result<Vec<Item>, Problem> {
    let mut inputs = Inputs::default();
    for tensor in tensors {
        let place = match tensor.name.as_str() {
            "text" | "sentences" => &mut inputs.text,
            "input_ids" | "tokens" => &mut inputs.ids,
            "conversation" => &mut inputs.conversation,
            "attention_mask" => &mut inputs.mask,
            "sequence_lengths" => &mut inputs.lengths,
            "add_EOS" => &mut inputs.add_end,
            other => {
                return Err(Problem::invalid(format!(
                    "there is no input {other:?}; the model's metadata names those that there are"
                )));
            }
        };
        if place.is_some() {
            return Err(wrong(&tensor, "there are two inputs for the same"));
        }
        *place = Some(tensor);
    }
    if let Some(tensor) = &inputs.add_end {
        let values = integers(tensor, &[Datatype::Bool])?;
        if values.iter().any(|&value| value != 0) {
            let what =
                "nothing is added to a text: send it with the end that the template gives it";
            return Err(wrong(tensor, what));
        }
    }
    let padding = (inputs.mask.as_ref(), inputs.lengths.as_ref());
    match (inputs.text, inputs.ids, inputs.conversation) {
        (None, Some(ids), None) => rows(&ids, padding, most),
        (Some(texts), None, None) => {
            alone(padding)?;
            let each = |text| Ok(Item::Templated(text));
            column(texts, most, each)
        }
        (None, None, Some(conversations)) => {
            alone(padding)?;
            column(conversations, most, conversation)
        }
        (None, None, None) => Err(Problem::invalid(
            "there is nothing to score: send the input `text`, `input_ids` or `conversation`",
        )),
        _ => Err(Problem::invalid(
            "send one of the inputs `text`, `input_ids` and `conversation`",
        )),
    }
}

fn wrong(tensor: &Tensor, what: &str) -> Problem {
    Problem::invalid(format!("input {:?}: {what}", tensor.name))
}

/// `attention_mask` and `sequence_lengths`.
type Padding<'a> = (Option<&'a Tensor>, Option<&'a Tensor>);

fn alone(padding: Padding<'_>) -> Result<(), Problem> {
    match padding.0.or(padding.1) {
        None => Ok(()),
        Some(tensor) => Err(wrong(
            tensor,
            "it belongs to `input_ids`, which is not there",
        )),
    }
}

/// The items of texts of shape `[N]` or `[N, 1]`.
fn column(
    tensor: Tensor,
    most: usize,
    item: impl Fn(String) -> Result<Item, Problem>,
) -> Result<Vec<Item>, Problem> {
    let count = count(&tensor, most)?;
    let Data::Texts(texts) = tensor.data else {
        let what = format!("it is {}, and must be BYTES", tensor.datatype.name());
        return Err(wrong(&tensor, &what));
    };
    let several = count > 1;
    let items = texts.into_iter().enumerate().map(|(index, bytes)| {
        let text = String::from_utf8(bytes.into());
        let text = text.map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Problem::invalid(format!("its text is not UTF-8 at byte {at}"))
        });
        text.and_then(&item)
            .map_err(|problem| if several { problem.at(index) } else { problem })
    });
    items.collect()
}

/// N of a shape `[N]` or `[N, 1]`.
fn count(tensor: &Tensor, most: usize) -> Result<usize, Problem> {
    match tensor.shape[..] {
        [count] | [count, 1] => within(tensor, count, most),
        _ => {
            let shape = &tensor.shape;
            let what = format!("its shape is {shape:?}, and must be [N] or [N, 1]");
            Err(wrong(tensor, &what))
        }
    }
}

/// A number of conversations that a request may have, so that no more is allocated.
fn within(tensor: &Tensor, count: usize, most: usize) -> Result<usize, Problem> {
    match count {
        0 => Err(wrong(tensor, "it is empty: there is nothing to score")),
        count if count > most => Err(Problem::new(
            ProblemKind::TooLarge,
            format!(
                "{count} conversations in a request, and the limit is {most}: send them in several"
            ),
        )),
        count => Ok(count),
    }
}

fn conversation(text: String) -> Result<Item, Problem> {
    let record = Record::from_slice(text.as_bytes());
    let record = record.map_err(|error| Problem::invalid(error.to_string()))?;
    let Body::Single(raw) = record.body else {
        return Err(Problem::invalid(
            "it is a pair, or candidates: send each of its conversations as an element",
        ));
    };
    let conversation: Result<Conversation, _> = raw.into_conversation();
    let conversation = conversation.map_err(|error| Problem::invalid(error.to_string()))?;
    Ok(Item::Conversation(conversation))
}

/// The items of tokens of shape `[N, L]`.
fn rows(ids: &Tensor, padding: Padding<'_>, most: usize) -> Result<Vec<Item>, Problem> {
    let all = integers(ids, &[Datatype::Int64, Datatype::Int32])?;
    let [count, length] = ids.shape[..] else {
        let what = format!("its shape is {:?}, and must be [N, L]", ids.shape);
        return Err(wrong(ids, &what));
    };
    within(ids, count, most)?;
    if length == 0 {
        return Err(wrong(ids, "its rows have no tokens"));
    }
    let spans = spans(count, length, padding)?;
    let rows = all.chunks_exact(length).zip(spans).enumerate();
    let items = rows.map(|(index, (row, span))| {
        let ids = row[span].iter().map(|&id| {
            u32::try_from(id).map_err(|_| {
                let what = format!("row {index} has {id}, which is no token's id");
                wrong(ids, &what)
            })
        });
        Ok(Item::Ids(ids.collect::<Result<_, _>>()?))
    });
    items.collect()
}

/// Where the tokens of each row are.
fn spans(
    count: usize,
    length: usize,
    padding: Padding<'_>,
) -> Result<Vec<std::ops::Range<usize>>, Problem> {
    match padding {
        (None, None) => Ok(vec![0..length; count]),
        (Some(mask), None) => {
            let all = integers(mask, &[Datatype::Int64, Datatype::Int32, Datatype::Bool])?;
            if mask.shape != [count, length] {
                let what = format!(
                    "its shape is {:?}, and that of the tokens [{count}, {length}]",
                    mask.shape
                );
                return Err(wrong(mask, &what));
            }
            let rows = all.chunks_exact(length).enumerate();
            rows.map(|(index, row)| {
                masked(row).map_err(|what| wrong(mask, &format!("row {index} {what}")))
            })
            .collect()
        }
        (None, Some(lengths)) => {
            let all = integers(lengths, &[Datatype::Int64, Datatype::Int32])?;
            if !matches!(lengths.shape[..], [n] | [n, 1] if n == count) {
                let what = format!(
                    "its shape is {:?}, and must be [{count}] or [{count}, 1]",
                    lengths.shape
                );
                return Err(wrong(lengths, &what));
            }
            let each = all
                .iter()
                .enumerate()
                .map(|(index, &own)| match usize::try_from(own) {
                    Ok(own) if (1..=length).contains(&own) => Ok(0..own),
                    _ => {
                        let what = format!("row {index} has {own}, and must have 1 to {length}");
                        Err(wrong(lengths, &what))
                    }
                });
            each.collect()
        }
        (Some(mask), Some(_)) => Err(wrong(mask, "send it or `sequence_lengths`, not both")),
    }
}

/// Where the ones of a mask are.
fn masked(row: &[i64]) -> Result<std::ops::Range<usize>, String> {
    if let Some(other) = row.iter().find(|&&bit| bit != 0 && bit != 1) {
        return Err(format!("has {other}, and must have 0 and 1"));
    }
    let Some(start) = row.iter().position(|&bit| bit == 1) else {
        return Err("has no 1: it has no tokens".into());
    };
    let ones = row[start..].iter().take_while(|&&bit| bit == 1).count();
    let end = start + ones;
    match row[end..].contains(&1) {
        true => Err(format!(
            "has a 0 at {end} between ones: there is padding within a conversation"
        )),
        false => Ok(start..end),
    }
}

/// The elements of a tensor of one of these datatypes.
fn integers<'a>(tensor: &'a Tensor, datatypes: &[Datatype]) -> Result<&'a [i64], Problem> {
    match &tensor.data {
        Data::Integers(all) if datatypes.contains(&tensor.datatype) => Ok(all),
        _ => {
            let names: Vec<&str> = datatypes.iter().map(|datatype| datatype.name()).collect();
            let own = tensor.datatype.name();
            let what = format!("it is {own}, and must be {}", names.join(" or "));
            Err(wrong(tensor, &what))
        }
    }
}
