//! Whole made-up checkpoints.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{options::DEFAULT_SHARD_BYTES, *};
use crate::checkpoint::{Architecture, Checkpoint};

/// A model as small as the tokenizer allows.
fn small() -> SynthOptions {
    SynthOptions {
        shard_bytes: 5_000,
        ..SynthOptions::new(ModelShape {
            hidden_size: 16,
            intermediate_size: 24,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: Some(8),
            vocab_size: TOKENIZER_SIZE,
            max_position_embeddings: 128,
            rope_theta: 1e4,
            rms_norm_eps: 1e-6,
        })
    }
}

struct Made {
    _dir: tempfile::TempDir,
    out: PathBuf,
    report: SynthReport,
}

fn make(options: &SynthOptions) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("checkpoint");
    let report = synth(&out, options).unwrap();
    Made {
        _dir: dir,
        out,
        report,
    }
}

impl Made {
    /// The hash of each file.
    fn hashes(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(&self.out).unwrap().map(|e| e.unwrap());
        entries
            .map(|entry| {
                let hash = Sha256::digest(fs::read(entry.path()).unwrap());
                let hex = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                (entry.file_name().into_string().unwrap(), hex)
            })
            .collect()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.out.join(name)).unwrap()).unwrap()
    }

    /// The bytes of a tensor.
    fn tensor(&self, name: &str) -> Vec<u8> {
        let checkpoint = Checkpoint::open(&self.out).unwrap();
        let entry = &checkpoint.tensors()[name];
        let file = fs::read(&checkpoint.files()[entry.file].path).unwrap();
        file[entry.offset as usize..(entry.offset + entry.bytes) as usize].to_vec()
    }
}

#[test]
fn the_same_options_make_the_same_bytes() {
    let first = make(&small()).hashes();
    assert_eq!(first, make(&small()).hashes());
    let other = make(&SynthOptions { seed: 1, ..small() }).hashes();
    assert!(first.keys().eq(other.keys()));
    for (name, hash) in &first {
        let weights = name.ends_with(".safetensors");
        assert_eq!(weights, other[name] != *hash, "{name}");
    }
}

/// Guards "on every machine", and against changes of the generator by accident.
/// The numbers are from an implementation of ChaCha8 and bf16 rounding in plain
/// Python: key = SHA-256("worldpm-ort synth 1", seed as 8 bytes, tensor name).
#[test]
fn known_values() {
    let made = make(&small());
    let tensor = made.tensor("model.norm.weight");
    let values: Vec<f32> = tensor
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&b| half::bf16::from_le_bytes(b).to_f32())
        .collect();
    assert_eq!(values[..4], [0.90625, 0.91015625, 0.90625, 0.76953125]);
}

#[test]
fn values_do_not_depend_on_the_layout() {
    let sharded = make(&small());
    let single = make(&SynthOptions {
        single_file: true,
        ..small()
    });
    for name in [
        "model.embed_tokens.weight",
        "score.2.weight",
        "model.layers.1.self_attn.k_proj.bias",
    ] {
        assert_eq!(sharded.tensor(name), single.tensor(name), "{name}");
    }
}

#[test]
fn sharded_layout() {
    let made = make(&small());
    let checkpoint = Checkpoint::open(&made.out).unwrap();
    assert_eq!(made.report.path, made.out);
    assert_eq!(made.report.files, checkpoint.files().len());
    assert_eq!(made.report.tensors, checkpoint.tensors().len());
    assert_eq!(made.report.tensors, 1 + 2 * 12 + 1 + 4);
    let bytes: u64 = checkpoint.tensors().values().map(|t| t.bytes).sum();
    assert_eq!(
        (made.report.bytes, made.report.parameters),
        (bytes, bytes / 2)
    );

    assert!(checkpoint.files().len() >= 3);
    let count = checkpoint.files().len();
    for (number, file) in checkpoint.files().iter().enumerate() {
        assert_eq!(
            file.name,
            format!("model-{:05}-of-{count:05}.safetensors", number + 1)
        );
        let tensors = checkpoint.tensors().values().filter(|t| t.file == number);
        let sizes: Vec<u64> = tensors.map(|t| t.bytes).collect();
        assert!(sizes.len() == 1 || sizes.iter().sum::<u64>() <= 5_000);
    }
    let index = made.json(INDEX_FILE);
    assert_eq!(index["metadata"]["total_size"], bytes);
    assert_eq!(
        index["weight_map"]["model.embed_tokens.weight"],
        checkpoint.files()[0].name
    );
    for file in checkpoint.files() {
        let head: [u8; 8] = fs::read(&file.path).unwrap()[..8].try_into().unwrap();
        assert!(u64::from_le_bytes(head).is_multiple_of(8));
    }
}

#[test]
fn weights_that_fit_one_file_have_no_index() {
    for options in [
        SynthOptions {
            single_file: true,
            ..small()
        },
        SynthOptions {
            shard_bytes: DEFAULT_SHARD_BYTES,
            ..small()
        },
    ] {
        let made = make(&options);
        let checkpoint = Checkpoint::open(&made.out).unwrap();
        assert_eq!(checkpoint.files()[0].name, "model.safetensors");
        assert_eq!(checkpoint.files().len(), 1);
        assert!(!made.out.join(INDEX_FILE).exists());
    }
}

#[test]
fn heads_and_their_tensors() {
    type Shapes = &'static [(&'static str, &'static [u64])];
    let cases: [(Head, Architecture, Shapes); 4] = [
        (
            Head::TwoLayer,
            Architecture::Qwen2ForRewardModel,
            &[
                ("score.0.bias", &[16]),
                ("score.0.weight", &[16, 16]),
                ("score.2.bias", &[1]),
                ("score.2.weight", &[1, 16]),
            ],
        ),
        (
            Head::OneLayer { bias: false },
            Architecture::Qwen2ForSequenceClassification,
            &[("score.weight", &[1, 16])],
        ),
        (
            Head::Process,
            Architecture::Qwen2ForProcessRewardModel,
            &[
                ("score.0.bias", &[16]),
                ("score.0.weight", &[16, 16]),
                ("score.2.bias", &[2]),
                ("score.2.weight", &[2, 16]),
            ],
        ),
        (
            Head::OneLayer { bias: true },
            Architecture::Qwen2ForSequenceClassification,
            &[("score.bias", &[1]), ("score.weight", &[1, 16])],
        ),
    ];
    for (head, architecture, wanted) in cases {
        let made = make(&SynthOptions {
            head,
            sparse: true,
            ..small()
        });
        let checkpoint = Checkpoint::open(&made.out).unwrap();
        assert_eq!(checkpoint.config().architecture, architecture);
        let labels = wanted.last().unwrap().1[0] as usize;
        assert_eq!(checkpoint.config().num_labels, Some(labels));
        let found: Vec<(&str, &[u64])> = checkpoint
            .tensors()
            .iter()
            .filter(|(name, _)| name.starts_with("score."))
            .map(|(name, entry)| (name.as_str(), entry.shape.as_slice()))
            .collect();
        assert_eq!(found, wanted);
    }
}

#[test]
fn backbone_tensors_have_the_shapes_of_qwen2() {
    let made = make(&small());
    let checkpoint = Checkpoint::open(&made.out).unwrap();
    let wanted: [(&str, &[u64]); 14] = [
        ("model.embed_tokens.weight", &[TOKENIZER_SIZE as u64, 16]),
        ("model.layers.0.input_layernorm.weight", &[16]),
        ("model.layers.0.mlp.down_proj.weight", &[16, 24]),
        ("model.layers.0.mlp.gate_proj.weight", &[24, 16]),
        ("model.layers.0.mlp.up_proj.weight", &[24, 16]),
        ("model.layers.0.post_attention_layernorm.weight", &[16]),
        ("model.layers.0.self_attn.k_proj.bias", &[16]),
        ("model.layers.0.self_attn.k_proj.weight", &[16, 16]),
        ("model.layers.0.self_attn.o_proj.weight", &[16, 32]),
        ("model.layers.0.self_attn.q_proj.bias", &[32]),
        ("model.layers.0.self_attn.q_proj.weight", &[32, 16]),
        ("model.layers.0.self_attn.v_proj.bias", &[16]),
        ("model.layers.1.self_attn.v_proj.weight", &[16, 16]),
        ("model.norm.weight", &[16]),
    ];
    for (name, shape) in wanted {
        checkpoint.tensor(name, shape).unwrap();
    }
}

#[test]
fn configuration_in_both_styles() {
    let mut options = SynthOptions {
        sparse: true,
        tie_word_embeddings: true,
        ..small()
    };
    for pad_token_id in [None, Some(151_643)] {
        options.pad_token_id = pad_token_id;
        options.config_style = ConfigStyle::Transformers4;
        let four = make(&options);
        options.config_style = ConfigStyle::Transformers5;
        let five = make(&options);

        let config = Checkpoint::open(&four.out).unwrap().config().clone();
        assert_eq!(&config, Checkpoint::open(&five.out).unwrap().config());
        assert_eq!(config.pad_token_id, pad_token_id);
        assert_eq!((config.head_dim, config.rope.theta), (8, 1e4));
        assert!(config.tie_word_embeddings);
        assert_eq!(config.dtype.as_deref(), Some("bfloat16"));

        let (four, five) = (four.json(CONFIG_FILE), five.json(CONFIG_FILE));
        assert_eq!(four["rope_theta"], json!(1e4));
        assert_eq!(
            four.get("pad_token_id"),
            pad_token_id.map(|id| json!(id)).as_ref()
        );
        assert!(five.get("rope_theta").is_none() && five.get("torch_dtype").is_none());
        assert_eq!(five["rope_parameters"]["rope_theta"], json!(1e4));
        assert_eq!(five["pad_token_id"], json!(pad_token_id));
    }
}

#[test]
fn tokenizer_and_template_are_complete() {
    let made = make(&SynthOptions {
        sparse: true,
        ..small()
    });
    let tokenizer = made.json("tokenizer.json");
    let highest = |ids: &mut dyn Iterator<Item = &Value>| ids.filter_map(Value::as_u64).max();
    let vocab = tokenizer["model"]["vocab"].as_object().unwrap();
    let added = tokenizer["added_tokens"].as_array().unwrap();
    let top = highest(&mut vocab.values().chain(added.iter().map(|t| &t["id"])));
    assert_eq!(top, Some(TOKENIZER_SIZE as u64 - 1));

    let template = fs::read_to_string(made.out.join("chat_template.jinja")).unwrap();
    assert!(template.contains("<|im_end|>") && template.contains("<|endoftext|>"));
    let config = made.json("tokenizer_config.json");
    assert_eq!(config["chat_template"], json!(template));
    assert_eq!(config["tokenizer_class"], "Qwen2Tokenizer");
}

#[test]
fn full_size_as_holes() {
    let options = SynthOptions {
        sparse: true,
        ..Preset::Qwen72B.options()
    };
    let made = make(&options);
    assert_eq!(made.report.files, 37);
    assert_eq!(made.report.tensors, 1 + 80 * 12 + 1 + 4);

    let checkpoint = Checkpoint::open(&made.out).unwrap();
    let total: u64 = checkpoint.files().iter().map(|f| f.bytes).sum();
    assert!(total > 140_000_000_000, "{total}");
    checkpoint
        .tensor("model.layers.79.mlp.down_proj.weight", &[8192, 29568])
        .unwrap();

    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let blocks = checkpoint
            .files()
            .iter()
            .map(|f| fs::metadata(&f.path).unwrap().blocks());
        assert!(blocks.sum::<u64>() * 512 < 10_000_000);
    }
}

#[test]
fn presets_are_found_by_name() {
    for preset in Preset::ALL {
        assert_eq!(preset.as_str().parse::<Preset>().unwrap(), preset);
    }
    let message = "70b".parse::<Preset>().unwrap_err().to_string();
    assert!(
        message.contains("`70b`") && message.contains("tiny, 0.5b, 7b, 72b"),
        "{message}"
    );
}

#[test]
fn senseless_options_are_named_and_leave_nothing() {
    fn changed(change: fn(&mut SynthOptions)) -> SynthOptions {
        let mut options = SynthOptions {
            sparse: true,
            ..small()
        };
        change(&mut options);
        options
    }
    let cases = [
        (changed(|o| o.shape.hidden_size = 0), "hidden_size"),
        (
            changed(|o| o.shape.intermediate_size = usize::MAX),
            "intermediate_size",
        ),
        (
            changed(|o| o.shape.num_hidden_layers = 0),
            "num_hidden_layers",
        ),
        (
            changed(|o| o.shape.num_hidden_layers = usize::MAX),
            "num_hidden_layers",
        ),
        (
            changed(|o| {
                o.shape.num_hidden_layers = usize::MAX;
                o.config_style = ConfigStyle::Transformers5;
            }),
            "num_hidden_layers",
        ),
        (
            changed(|o| {
                o.shape.hidden_size = 1 << 28;
                o.shape.intermediate_size = 1 << 28;
                o.shape.num_hidden_layers = 1 << 10;
            }),
            "num_hidden_layers",
        ),
        (
            changed(|o| o.shape.num_key_value_heads = 3),
            "num_key_value_heads",
        ),
        (changed(|o| o.shape.head_dim = Some(7)), "head_dim"),
        (changed(|o| o.shape.rope_theta = f64::NAN), "rope_theta"),
        (
            changed(|o| {
                o.shape.rope_theta = 0.0;
                o.config_style = ConfigStyle::Transformers5;
            }),
            "rope_theta",
        ),
        (changed(|o| o.shape.vocab_size = 1000), "vocab_size"),
        (changed(|o| o.pad_token_id = Some(u32::MAX)), "pad_token_id"),
        (changed(|o| o.shard_bytes = 0), "shard_bytes"),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (options, option) in cases {
        match synth(&dir.path().join("out"), &options) {
            Err(Error::Option { option: found, .. }) => assert_eq!(found, option),
            other => panic!("{option}: {other:?}"),
        }
    }
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
}

#[test]
fn an_existing_checkpoint_is_not_touched() {
    let made = make(&SynthOptions {
        sparse: true,
        ..small()
    });
    let before = made.hashes();
    let error = synth(&made.out, &small()).unwrap_err();
    assert!(matches!(error, Error::OutputTaken { .. }), "{error:?}");
    assert!(error.to_string().contains("not empty"));
    assert_eq!(made.hashes(), before);
    let parent = made.out.parent().unwrap();
    assert_eq!(fs::read_dir(parent).unwrap().count(), 1);
}
