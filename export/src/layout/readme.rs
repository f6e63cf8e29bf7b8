//! What the person who runs the server has to know, as a file of the bundle.

use std::fmt::Write;

use worldpm_ort_bundle::{
    Device, Interface, Layout, Pooling,
    manifest::{Manifest, TensorInfo},
};

use super::{
    limits::Limits,
    paths::{BundlePaths, pool_arguments},
    triton::ENGINE_CACHE,
};

/// The README of a bundle for a server.
pub(super) fn text(places: &BundlePaths, manifest: &Manifest, limits: Limits) -> String {
    let name = places.name();
    let repository = match places.layout {
        Layout::Kserve => "the folder `models/`",
        Layout::Plain | Layout::Triton => "this folder",
    };
    [
        format!(
            "# {name}: {architecture} in {stages} for Triton\n\n\
             Written by {producer}. {repository} is a model repository. Not yet run on a Triton server: the \
             configuration follows the sources of Triton's backend, and in the tests of worldpm-ort such stages are \
             joined as their ensemble says and give the scores that they should.\n",
            architecture = manifest.model.architecture,
            stages = match manifest.stages.len() {
                1 => "one stage".to_owned(),
                stages => format!("{stages} stages"),
            },
            producer = manifest.producer,
            repository = capital(repository),
        ),
        start(places, manifest, limits),
        requests(places, manifest, limits),
        tokens(manifest),
        batching(limits),
        memory(manifest),
        tensorrt(places),
    ]
    .concat()
}

fn start(places: &BundlePaths, manifest: &Manifest, limits: Limits) -> String {
    let mut text = String::from("\n## Start\n\n");
    if places.layout == Layout::Kserve {
        let storage = places.layout_options.storage_uri.as_deref();
        let storage =
            storage.map_or_else(|| format!("pvc://{}/models", places.name()), str::to_owned);
        let _ = write!(
            text,
            "Put the contents of `models/` where the service looks for them, `{storage}`, then\n\n    \
             kubectl apply -f serving-runtime.yaml -f inference-service.yaml\n\n\
             A volume claim (`pvc://`) is mounted as it is; from other storage every start copies all weights. Outside \
             Kubernetes:\n\n"
        );
    }
    let repository = match places.layout {
        Layout::Kserve => "$PWD/models",
        Layout::Plain | Layout::Triton => "$PWD",
    };
    let mut command = vec![format!("tritonserver --model-repository={repository}")];
    command.extend(pool_arguments(manifest, limits));
    let _ = writeln!(text, "    {}", command.join(" \\\n        "));
    text.push_str(
        "\nIt is written for Triton 26.06 or newer: the ensemble's `max_inflight_requests`, and bfloat16 between stages, \
         are unknown to old servers.",
    );
    if manifest.device == Device::Cuda {
        let stages = manifest.stages.len();
        let _ = write!(text, " Stage N runs on GPU N: this takes {stages}.");
    }
    text.push('\n');
    text
}

fn requests(places: &BundlePaths, manifest: &Manifest, limits: Limits) -> String {
    let mut text = format!(
        "\n## Requests\n\nAsk for the model `{}`; the others are its stages.\n\n| tensor | type, shape | |\n|---|---|---|\n",
        places.name()
    );
    let mut known: Vec<&str> = Vec::new();
    let inputs = manifest.stages.iter().flat_map(|stage| &stage.inputs);
    for input in inputs.filter(|input| input.name != worldpm_ort_bundle::names::HIDDEN_STATES) {
        if !known.contains(&input.name.as_str()) {
            known.push(&input.name);
            row(&mut text, input, "input");
        }
    }
    for stage in manifest.stages.iter().rev().take(1) {
        for output in &stage.outputs {
            row(&mut text, output, "output");
        }
    }
    text.push_str(match manifest.interface {
        Interface::Padded => {
            "\n`attention_mask` is 0 for padding, on whichever side, and 1 for tokens. It alone tells padding: the token \
             that ends a conversation may be the padding token too. A row is scored at its last token. A row without \
             tokens gets not-a-number.\n\n    \
             {\"inputs\": [\n      \
             {\"name\": \"input_ids\", \"datatype\": \"INT64\", \"shape\": [2, 3], \"data\": [11, 12, 13, 21, 22, 0]},\n      \
             {\"name\": \"attention_mask\", \"datatype\": \"INT64\", \"shape\": [2, 3], \"data\": [1, 1, 1, 1, 1, 0]}]}\n"
        }
        Interface::Packed => {
            "\nThe tokens are packed: `T` unique tokens of a prefix tree, `B` rows of up to `S` tokens, `N` scored tokens. \
             How they are made is in docs/bundle-format.md of worldpm-ort.\n"
        }
    });
    let _ = write!(
        text,
        "\nMemory pools are sized for {} rows of {} tokens. The model's limit is {} tokens a row.\n",
        limits.rows, limits.columns, manifest.max_length
    );
    if manifest.model.labels.len() > 1 {
        let _ = writeln!(
            text,
            "The scores of a row are, in order: {}.",
            manifest.model.labels.join(", ")
        );
    }
    text
}

fn row(text: &mut String, tensor: &TensorInfo, kind: &str) {
    let shape = match tensor.shape.as_slice() {
        [] => "1".to_owned(),
        dims => dims.join(", "),
    };
    let _ = writeln!(
        text,
        "| `{}` | {} `[{shape}]` | {kind} |",
        tensor.name, tensor.element
    );
}

fn tokens(manifest: &Manifest) -> String {
    let mut text = String::from(
        "\n## Tokens\n\nTriton's ONNX Runtime backend has no tokenizer: clients send token ids. The tokenizer and the chat \
         template are beside this file. Render without a generation prompt, encode without adding special tokens",
    );
    if manifest.text.system_marker {
        text.push_str(
            ", and put an empty system message in front of a conversation that has none, as the model was trained",
        );
    }
    text.push_str(". ");
    if let Some(token) = &manifest.end_token {
        let _ = write!(
            text,
            "Every conversation has to end with `{}` (id {}): do not cut it off. ",
            token.text, token.id
        );
    }
    text.push_str(&match manifest.pooling {
        Pooling::Last => "The scored token is the last one.\n".to_owned(),
        Pooling::BeforeFirstPad { pad_token_id } => {
            format!("The scored token is the one before the first {pad_token_id}: end the row there.\n")
        }
        Pooling::LastNonPad { pad_token_id } => {
            format!("The scored token is the rightmost one that is not {pad_token_id}: end the row there.\n")
        }
        Pooling::EachToken { token_id } => {
            format!("Every token {token_id} ends a step and is scored: name them all in `score_tokens`.\n")
        }
    });
    text
}

fn batching(limits: Limits) -> String {
    format!(
        "\n## Batching\n\nPut several conversations into one request, up to {} rows. `max_batch_size` is 0, so Triton does \
         not merge requests: rows of different requests differ in length, and what stages hand over has no batch \
         dimension to merge along. Requests are worked on one after another in each stage, and different requests in \
         different stages at the same time, so keep at least as many under way as there are stages. A stage has two \
         at most, one computed and one waiting (`max_inflight_requests`).\n",
        limits.rows
    )
}

fn memory(manifest: &Manifest) -> String {
    if manifest.device == Device::Cpu {
        return String::new();
    }
    let request = match manifest.interface {
        Interface::Packed => "`T` up to rows times tokens",
        Interface::Padded => "no padding",
    };
    format!(
        "\n## Memory pools\n\nStages hand over `[T, {hidden}]` tensors. What does not fit into Triton's \
         pools, 64 MiB a GPU and 256 MiB pinned by itself, goes through slower memory. The arguments above give each GPU twice \
         what its stage takes and gives in the largest request ({request}), and the pinned pool, through which tensors \
         go between GPUs that cannot reach each other, the sum of that.\n",
        hidden = manifest.model.hidden_size
    )
}

fn tensorrt(places: &BundlePaths) -> String {
    if !places.layout_options.tensorrt {
        return String::new();
    }
    format!(
        "\n## TensorRT\n\nThe first request of each stage builds its engine, which takes long, into `{ENGINE_CACHE}`: make that \
         a folder that outlives the container, and that the server may write. Engines are prepared for the shapes above; \
         larger requests build anew. The cache's prefix holds a hash of the graph and the weights, since its own key \
         knows neither. There is no `precision_mode`: TensorRT takes the graph's own types. The backend does not accept \
         `trt_load_user_initializer`; weights are files beside the graph, so that no message passes 2 GB.\n"
    )
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}
