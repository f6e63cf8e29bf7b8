//! `ModelInfer`.

use std::{collections::HashMap, time::Duration};

use axum::extract::State;
use bytes::Bytes;
use prost::Message;

use super::{
    super::{
        inference::{self, Inference, Scores},
        interface::{INPUTS, VERSION},
        tensor::{Data, Datatype, Declared, Tensor},
    },
    call::{Call, Reply},
    messages::{
        InferInputTensor, InferOutputTensor, InferParameter, InferRequestedOutputTensor,
        InferTensorContents, ModelInferRequest, ModelInferResponse, ParameterChoice,
    },
    status::Refusal,
};
use crate::{
    http::{Client, Problem},
    state::App,
};

pub(super) async fn infer(
    State(app): State<App>,
    client: Client,
    call: Call<ModelInferRequest>,
) -> Result<Reply<ModelInferResponse>, Refusal> {
    let Call { message, timeout } = call;
    let raw = !message.raw_input_contents.is_empty();
    let own = own_timeout(&message.parameters)?;
    let sooner = timeout.into_iter().chain(own).min();
    let inference = Inference {
        model: message.model_name,
        version: Some(message.model_version),
        inputs: tensors(&message.inputs, message.raw_input_contents)?,
        outputs: names(&message.outputs)?,
        timeout: sooner,
    };
    let inferred = inference::infer(&app, client, inference).await?;
    let mut reply = ModelInferResponse {
        model_name: inferred.model,
        model_version: VERSION.into(),
        id: message.id,
        ..ModelInferResponse::default()
    };
    for scores in inferred.outputs {
        if raw {
            reply.raw_output_contents.push(scores.raw());
        }
        reply.outputs.push(output(scores, raw));
    }
    Ok(Reply(reply))
}

fn output(scores: Scores, raw: bool) -> InferOutputTensor {
    InferOutputTensor {
        name: scores.name.into(),
        datatype: "FP32".into(),
        shape: scores
            .shape
            .map(|n| i64::try_from(n).unwrap_or(i64::MAX))
            .into(),
        contents: (!raw).then(|| InferTensorContents {
            fp32_contents: scores.values,
            ..InferTensorContents::default()
        }),
    }
}

fn few(what: &str, all: &[Bytes]) -> Result<(), Problem> {
    // No model takes or gives more.
    match all.len() <= INPUTS.len() {
        true => Ok(()),
        false => Err(Problem::invalid(format!(
            "{} {what}: there are not so many tensors here",
            all.len()
        ))),
    }
}

fn decoded<M: Message + Default>(what: &str, bytes: &Bytes) -> Result<M, Problem> {
    M::decode(bytes.clone()).map_err(|error| Problem::invalid(format!("`{what}`: {error}")))
}

fn names(outputs: &[Bytes]) -> Result<Vec<String>, Problem> {
    few("outputs", outputs)?;
    let names = outputs.iter().map(|bytes| {
        let output: InferRequestedOutputTensor = decoded("outputs", bytes)?;
        refuse(&output.parameters, &format!("output {:?}", output.name))?;
        Ok(output.name)
    });
    names.collect()
}

fn tensors(inputs: &[Bytes], raw: Vec<Bytes>) -> Result<Vec<Tensor>, Problem> {
    few("inputs", inputs)?;
    if !raw.is_empty() && raw.len() != inputs.len() {
        return Err(Problem::invalid(format!(
            "`raw_input_contents` is of {} inputs, and there are {}",
            raw.len(),
            inputs.len()
        )));
    }
    let mut raw = raw.into_iter();
    let tensors = inputs.iter().map(|bytes| {
        let input: InferInputTensor = decoded("inputs", bytes)?;
        let shape = input.shape.iter().map(|&n| usize::try_from(n));
        let shape = shape.collect::<Result<Vec<usize>, _>>().map_err(|_| {
            Problem::invalid(format!(
                "input {:?}: its shape {:?} has a number below 0",
                input.name, input.shape
            ))
        })?;
        refuse(&input.parameters, &format!("input {:?}", input.name))?;
        let declared = Declared::new(input.name, &input.datatype, shape)?;
        match (raw.next(), input.contents) {
            (Some(raw), None) => declared.with_raw(raw),
            (Some(_), Some(_)) => {
                Err(declared.wrong("it has both `contents` and `raw_input_contents`"))
            }
            (None, contents) => elements(declared, contents.unwrap_or_default()),
        }
    });
    tensors.collect()
}

fn elements(declared: Declared, contents: InferTensorContents) -> Result<Tensor, Problem> {
    let data = match declared.datatype {
        Datatype::Bytes => Data::Texts(contents.bytes_contents),
        Datatype::Int64 => Data::Integers(contents.int64_contents),
        Datatype::Int32 => {
            Data::Integers(contents.int_contents.into_iter().map(i64::from).collect())
        }
        Datatype::Bool => {
            Data::Integers(contents.bool_contents.into_iter().map(i64::from).collect())
        }
        Datatype::Fp32 => return Err(declared.not_an_input()),
    };
    declared.with(data)
}

type Parameters = HashMap<String, InferParameter>;

/// Refuses what would give another result than is asked for.
fn refuse(parameters: &Parameters, of: &str) -> Result<(), Problem> {
    if parameters.contains_key("shared_memory_region") {
        return Err(Problem::invalid(format!(
            "{of}: memory is not shared here; send the data"
        )));
    }
    match parameters.get("classification").map(number) {
        None | Some(Some(0)) => Ok(()),
        Some(_) => Err(Problem::invalid(format!(
            "{of}: `classification` is not given; take the scores"
        ))),
    }
}

/// Triton's, in microseconds; 0 is none.
fn own_timeout(parameters: &Parameters) -> Result<Option<Duration>, Problem> {
    match parameters.get("timeout").map(number) {
        None | Some(Some(0)) => Ok(None),
        Some(Some(microseconds)) => Ok(Some(Duration::from_micros(microseconds))),
        Some(None) => Err(Problem::invalid(
            "`timeout` must be a number of microseconds",
        )),
    }
}

fn number(parameter: &InferParameter) -> Option<u64> {
    match parameter.choice {
        Some(ParameterChoice::Int64(number)) => u64::try_from(number).ok(),
        Some(ParameterChoice::Uint64(number)) => Some(number),
        Some(ParameterChoice::Bool(_)) | None => None,
    }
}
