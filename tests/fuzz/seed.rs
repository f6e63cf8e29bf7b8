//! What is spoiled: a checkpoint, an adapter and a bundle that are small enough to be read in milliseconds.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    self,
    tensors::{self, Tensor, Tensors},
};

/// Tokens of `synth`'s vocabulary that are single bytes, and where its special tokens begin.
const BYTES: u64 = 256;
const FIRST_SPECIAL: u64 = 151_643;
const VOCABULARY: u64 = 320;
pub(crate) const WEIGHTS: &str = "model.safetensors";

/// Folders that every case copies.
pub(crate) struct Seed {
    dir: TempDir,
}

impl Seed {
    pub(crate) fn new() -> Self {
        let seed = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let made = support::checkpoint(support::SMALL_SINGLE);
        let checkpoint = seed.checkpoint();
        fs::create_dir(&checkpoint).unwrap();
        for entry in fs::read_dir(&made).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if [
                "config.json",
                "chat_template.jinja",
                "tokenizer_config.json",
            ]
            .contains(&name.as_str())
            {
                fs::copy(made.join(&name), checkpoint.join(&name)).unwrap();
            }
        }
        let small_id = |value: &mut Value| {
            if let Some(id) = value.as_u64().filter(|id| *id >= FIRST_SPECIAL) {
                *value = json!(id - FIRST_SPECIAL + BYTES);
            }
        };
        support::edit_json(&checkpoint.join("config.json"), |config| {
            config["vocab_size"] = json!(0);
            config
                .as_object_mut()
                .unwrap()
                .values_mut()
                .for_each(small_id);
            config["vocab_size"] = json!(VOCABULARY);
            config["max_position_embeddings"] = json!(512);
        });
        support::edit_json(&checkpoint.join("tokenizer_config.json"), |config| {
            let Some(Value::Object(tokens)) = config.get_mut("added_tokens_decoder") else {
                return;
            };
            *tokens = std::mem::take(tokens)
                .into_iter()
                .map(|(id, token)| {
                    let id: u64 = id.parse().unwrap();
                    ((id - FIRST_SPECIAL + BYTES).to_string(), token)
                })
                .collect();
        });
        let mut tokenizer = support::read_json(&made.join("tokenizer.json"));
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        vocabulary.retain(|_, id| id.as_u64().unwrap() < BYTES);
        tokenizer["model"]["merges"] = json!([]);
        for token in tokenizer["added_tokens"].as_array_mut().unwrap() {
            small_id(&mut token["id"]);
        }
        fs::write(checkpoint.join("tokenizer.json"), tokenizer.to_string()).unwrap();

        let mut weights = tensors::read(&made.join(WEIGHTS));
        let embedding = weights.get_mut("model.embed_tokens.weight").unwrap();
        embedding.shape[0] = VOCABULARY;
        embedding
            .data
            .truncate((VOCABULARY * embedding.shape[1] * 2) as usize);
        tensors::write(&checkpoint.join(WEIGHTS), &weights);

        let adapter = seed.adapter();
        fs::create_dir(&adapter).unwrap();
        let config = json!({
            "peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"],
            "bias": "none", "fan_in_fan_out": false,
        });
        fs::write(adapter.join("adapter_config.json"), config.to_string()).unwrap();
        let mut update = Tensors::new();
        for layer in 0..2 {
            let name = format!("base_model.model.model.layers.{layer}.self_attn.q_proj.lora");
            for (half, shape) in [("A", [2, 64]), ("B", [64, 2])] {
                let data = (0..128_u32)
                    .flat_map(|n| (n as f32 / 1000.0).to_le_bytes())
                    .collect();
                let tensor = Tensor {
                    dtype: "F32".into(),
                    shape: shape.to_vec(),
                    data,
                };
                update.insert(format!("{name}_{half}.weight"), tensor);
            }
        }
        tensors::write(&adapter.join("adapter_model.safetensors"), &update);

        let (from, to) = (checkpoint.to_str().unwrap(), seed.bundle());
        let export = [
            "export",
            "--checkpoint",
            from,
            "--out",
            to.to_str().unwrap(),
        ];
        support::run_ok(
            &[
                &export[..],
                &["--stages", "2", "--probes", "on", "--weights", "copy"],
            ]
            .concat(),
        );
        seed
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.dir.path().join("checkpoint")
    }

    pub(crate) fn adapter(&self) -> PathBuf {
        self.dir.path().join("adapter")
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }
}

/// The header of a safetensors file, and what follows it.
pub(crate) fn split(bytes: &[u8]) -> (Value, &[u8]) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    (header, &bytes[8 + length..])
}
