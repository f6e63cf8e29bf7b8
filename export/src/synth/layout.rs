//! The tensors of a model, their place in the weight files, and the files' headers.

use std::collections::BTreeMap;

use serde_json::Value;
use worldpm_ort_bundle::safetensors::Dtype;

use super::options::{Head, SynthOptions};

use crate::{
    checkpoint::ModelConfig,
    error::{Error, Result},
    shards,
};

/// Weights are bf16.
pub(super) const ELEMENT_BYTES: u64 = 2;

/// A tensor to make, and the distribution of its values: uniform, with this
/// mean and standard deviation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) shape: Vec<u64>,
    pub(super) bytes: u64,
    pub(super) mean: f32,
    pub(super) std: f32,
}

/// A weight file to make.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) name: String,
    /// The length of the header and the header.
    pub(super) head: Vec<u8>,
    pub(super) bytes: u64,
    /// Sorted by name; each with its first byte in the file.
    pub(super) tensors: Vec<(u64, Tensor)>,
}

/// Collects the tensors of a model.
struct Tensors {
    all: Vec<Tensor>,
    /// Whether norms store their weights less one, as Gemma's do.
    less_one: bool,
}

impl Tensors {
    fn add(&mut self, name: String, shape: &[usize], mean: f32, std: f32) {
        let shape: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        // Sizes were checked: two of them, in bytes, cannot overflow.
        let bytes = shape.iter().product::<u64>() * ELEMENT_BYTES;
        self.all.push(Tensor {
            name,
            shape,
            bytes,
            mean,
            std,
        });
    }

    /// A projection that keeps the size of its input, times `gain`.
    fn linear(&mut self, name: String, out: usize, input: usize, gain: f32) {
        self.add(name, &[out, input], 0.0, gain / (input as f32).sqrt());
    }

    fn norm(&mut self, name: String, size: usize) {
        let mean = if self.less_one { 0.0 } else { 1.0 };
        self.add(name, &[size], mean, 0.15);
    }

    fn bias(&mut self, name: String, size: usize) {
        self.add(name, &[size], 0.0, 0.3);
    }

    /// The tensors of the decoder layer whose names begin with `prefix`.
    fn layer(&mut self, config: &ModelConfig, prefix: &str) {
        let hidden = config.hidden_size;
        let intermediate = config.intermediate_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let module = |name: &str| format!("{prefix}.{name}");
        let projections = [
            ("self_attn.q_proj", queries, hidden, 1.4, config.qkv_bias),
            ("self_attn.k_proj", keys, hidden, 1.4, config.qkv_bias),
            ("self_attn.v_proj", keys, hidden, 2.0, config.qkv_bias),
            ("self_attn.o_proj", hidden, queries, 2.0, config.output_bias),
            ("mlp.gate_proj", intermediate, hidden, 1.0, config.mlp_bias),
            ("mlp.up_proj", intermediate, hidden, 1.0, config.mlp_bias),
            ("mlp.down_proj", hidden, intermediate, 1.5, config.mlp_bias),
        ];
        for (name, out, input, gain, bias) in projections {
            self.linear(module(&format!("{name}.weight")), out, input, gain);
            if bias {
                self.bias(module(&format!("{name}.bias")), out);
            }
        }
        if config.architecture.backbone().decoder().head_norms {
            for name in ["self_attn.q_norm.weight", "self_attn.k_norm.weight"] {
                // More than 1, or the products of normalised heads would hardly differ.
                self.add(module(name), &[config.head_dim], 1.6, 0.3);
            }
        }
        let mut norms = vec!["input_layernorm", "post_attention_layernorm"];
        if config.architecture.backbone().decoder().sandwich_norms {
            norms.extend(["pre_feedforward_layernorm", "post_feedforward_layernorm"]);
        }
        for name in norms {
            self.norm(module(&format!("{name}.weight")), hidden);
        }
    }
}

/// Every tensor, in the order in which `transformers` lists them.
///
/// The gains are chosen so that no value grows out of hand over many layers,
/// that what a token says reaches the last one through attention, and that
/// scores of different conversations lie about 1 apart.
pub(super) fn tensors(config: &ModelConfig, options: &SynthOptions) -> Vec<Tensor> {
    let hidden = config.hidden_size;
    let labels = options.label_names().len();
    let decoder = config.architecture.backbone().decoder();
    let mut t = Tensors {
        all: Vec::new(),
        less_one: decoder.norms_less_one,
    };
    // They are multiplied by the square root of their width.
    let embedding_std = if decoder.scaled_embedding {
        1.0 / (hidden as f32).sqrt()
    } else {
        1.0
    };
    t.add(
        "model.embed_tokens.weight".to_owned(),
        &[config.vocab_size, hidden],
        0.0,
        embedding_std,
    );
    for layer in 0..config.num_hidden_layers {
        t.layer(config, &format!("model.layers.{layer}"));
    }
    t.norm("model.norm.weight".to_owned(), hidden);
    match options.head {
        Head::TwoLayer | Head::Process => {
            t.linear("score.0.weight".to_owned(), hidden, hidden, 1.4);
            t.bias("score.0.bias".to_owned(), hidden);
            t.linear("score.2.weight".to_owned(), labels, hidden, 3.0);
            t.bias("score.2.bias".to_owned(), labels);
        }
        Head::OneLayer { bias } => {
            t.linear("score.weight".to_owned(), labels, hidden, 3.0);
            if bias {
                t.bias("score.bias".to_owned(), labels);
            }
        }
    }
    t.all
}

/// Divides tensors among files as `transformers` does: in order, a new file
/// whenever the next tensor would make the current one too large.
///
/// # Errors
/// [`Error::Option`] when the files together would be larger than 64 bits can count.
pub(super) fn shards(tensors: Vec<Tensor>, options: &SynthOptions) -> Result<Vec<Shard>> {
    let limit = match options.single_file {
        true => u64::MAX,
        false => options.shard_bytes,
    };
    let mut total: u64 = 0;
    for tensor in &tensors {
        total = total
            .checked_add(tensor.bytes)
            .filter(|&total| total <= i64::MAX as u64)
            .ok_or_else(|| Error::Option {
                option: "num_hidden_layers".to_owned(),
                problem: "makes a model too large for any disk".to_owned(),
            })?;
    }
    let counts = shards::divide(tensors.iter().map(|tensor| tensor.bytes), limit);
    let mut tensors = tensors.into_iter();
    let files = counts.iter().enumerate().map(|(number, &count)| {
        let group = tensors.by_ref().take(count).collect();
        shard(shards::file_name(number, counts.len()), group)
    });
    Ok(files.collect())
}

fn shard(name: String, mut group: Vec<Tensor>) -> Shard {
    group.sort_by(|a, b| a.name.cmp(&b.name));
    let entries = group
        .iter()
        .map(|tensor| (tensor.name.as_str(), Dtype::Bf16, tensor.shape.as_slice()));
    let (head, offsets) = shards::head(entries);
    let bytes = group.iter().map(|tensor| tensor.bytes).sum::<u64>();
    Shard {
        name,
        bytes: head.len() as u64 + bytes,
        head,
        tensors: offsets.into_iter().zip(group).collect(),
    }
}

/// The index of sharded weights.
pub(super) fn index(files: &[Shard]) -> Value {
    let all = || {
        files
            .iter()
            .flat_map(|shard| shard.tensors.iter().map(move |(_, tensor)| (shard, tensor)))
    };
    let weight_map: BTreeMap<&str, &str> = all()
        .map(|(shard, tensor)| (tensor.name.as_str(), shard.name.as_str()))
        .collect();
    let total_size: u64 = all().map(|(_, tensor)| tensor.bytes).sum();
    shards::index(&weight_map, total_size / ELEMENT_BYTES, total_size)
}
