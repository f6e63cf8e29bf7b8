//! Exports by recipe: what a recipe decides, what overrides it, and checkpoints of other models.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
};

use serde_json::{Map, Value, json};
use worldpm_ort::export::{checkpoint::Architecture, recipe::Recipe};

use crate::support::{self, manifest, place::Place, run, run_ok, stderr};

/// The tensors of a model, from the recipe alone: names and shapes as `transformers` saves them.
fn tensors(recipe: &Recipe) -> Vec<(String, Vec<usize>)> {
    let shape = recipe.shape;
    let hidden = shape.hidden_size;
    let queries = shape.num_attention_heads * shape.head_dim;
    let keys = shape.num_key_value_heads * shape.head_dim;
    let (backbone, head) = recipe.architecture.split_once("For").unwrap();
    let mut layer = vec![
        ("self_attn.q_proj.weight", vec![queries, hidden]),
        ("self_attn.k_proj.weight", vec![keys, hidden]),
        ("self_attn.v_proj.weight", vec![keys, hidden]),
        ("self_attn.o_proj.weight", vec![hidden, queries]),
        (
            "mlp.gate_proj.weight",
            vec![shape.intermediate_size, hidden],
        ),
        ("mlp.up_proj.weight", vec![shape.intermediate_size, hidden]),
        (
            "mlp.down_proj.weight",
            vec![hidden, shape.intermediate_size],
        ),
        ("input_layernorm.weight", vec![hidden]),
        ("post_attention_layernorm.weight", vec![hidden]),
    ];
    layer.extend(match backbone {
        "Qwen2" => vec![
            ("self_attn.q_proj.bias", vec![queries]),
            ("self_attn.k_proj.bias", vec![keys]),
            ("self_attn.v_proj.bias", vec![keys]),
        ],
        "Qwen3" => vec![
            ("self_attn.q_norm.weight", vec![shape.head_dim]),
            ("self_attn.k_norm.weight", vec![shape.head_dim]),
        ],
        "Gemma2" => vec![
            ("pre_feedforward_layernorm.weight", vec![hidden]),
            ("post_feedforward_layernorm.weight", vec![hidden]),
        ],
        _ => vec![],
    });
    let mut all = vec![
        (
            "model.embed_tokens.weight".to_owned(),
            vec![shape.vocab_size, hidden],
        ),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    for index in 0..shape.num_hidden_layers {
        let named = |(name, shape): &(&str, Vec<usize>)| {
            (format!("model.layers.{index}.{name}"), shape.clone())
        };
        all.extend(layer.iter().map(named));
    }
    let head = match head {
        "SequenceClassification" => vec![("score.weight", vec![shape.num_labels, hidden])],
        _ => vec![
            ("score.0.weight", vec![hidden, hidden]),
            ("score.0.bias", vec![hidden]),
            ("score.2.weight", vec![shape.num_labels, hidden]),
            ("score.2.bias", vec![shape.num_labels]),
        ],
    };
    all.extend(
        head.into_iter()
            .map(|(name, shape)| (name.to_owned(), shape)),
    );
    all
}

/// What `config.json` of such a model holds, as far as a score depends on it.
fn config(recipe: &Recipe) -> Value {
    let mut fields: Map<String, Value> = recipe
        .shape
        .fields()
        .into_iter()
        .map(|(field, value)| (field.to_owned(), value.into()))
        .collect();
    let (backbone, _) = recipe.architecture.split_once("For").unwrap();
    let more = match backbone {
        "Gemma2" => json!({
            "attn_logit_softcapping": 50.0, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": 144, "sliding_window": 4096,
        }),
        _ => json!({"hidden_act": "silu"}),
    };
    fields.extend(more.as_object().unwrap().clone());
    let common = json!({
        "architectures": [recipe.architecture], "model_type": backbone.to_lowercase(), "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "torch_dtype": "bfloat16",
    });
    fields.extend(common.as_object().unwrap().clone());
    Value::Object(fields)
}

/// A checkpoint of the recipe's full size, as holes. Returns the bytes of its tensors.
fn full_size(recipe: &Recipe, dir: &Path) -> u64 {
    fs::create_dir(dir).unwrap();
    let mut header = Map::new();
    let mut end = 0_u64;
    for (name, shape) in tensors(recipe) {
        let start = end;
        end += 2 * shape.iter().map(|size| *size as u64).product::<u64>();
        header.insert(
            name,
            json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}),
        );
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = File::create(dir.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(&header).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
    fs::write(dir.join("config.json"), config(recipe).to_string()).unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let mut text = fs::read_to_string(models.join("tokenizers/qwen2.5").join(name)).unwrap();
        if recipe.architecture == "Qwen2ForProcessRewardModel" {
            // What Qwen2.5-Math-PRM calls the token 151651.
            text = text.replace("<|quad_end|>", "<extra_0>");
        }
        fs::write(dir.join(name), text).unwrap();
    }
    if recipe.shape.vocab_size < 151_665 {
        only_bytes(dir);
    }
    fs::copy(
        models.join("templates/worldpm.jinja"),
        dir.join("chat_template.jinja"),
    )
    .unwrap();
    end
}

/// Takes all tokens but single bytes and the special ones out of the Qwen2.5 tokenizer in `dir`, for models with fewer.
fn only_bytes(dir: &Path) {
    let path = dir.join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    vocabulary.retain(|_, id| id.as_u64().unwrap() < 256);
    tokenizer["model"]["merges"] = json!([]);
    for (at, token) in tokenizer["added_tokens"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        token["id"] = json!(256 + at);
    }
    fs::write(path, tokenizer.to_string()).unwrap();
    fs::write(dir.join("tokenizer_config.json"), "{}").unwrap();
}

impl Place {
    fn export(&self, recipe: &str, more: &[&str]) -> Vec<String> {
        let args = [
            "export",
            "--recipe",
            recipe,
            "--out",
            &self.arg("bundle"),
            "--probes",
            "off",
        ];
        args.iter()
            .chain(more)
            .map(|arg| (*arg).to_owned())
            .collect()
    }

    fn manifest(&self) -> Value {
        manifest(&self.at("bundle"))
    }
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// Every recipe's numbers are those of a checkpoint of its shape; and where this version exports the class, the
/// recipe exports it.
#[test]
fn every_recipe_at_full_size() {
    let mut exported = 0;
    for recipe in Recipe::all().unwrap() {
        let name = &recipe.name;
        let place = Place::new();
        let checkpoint = place.arg("checkpoint");
        assert_eq!(
            full_size(&recipe, checkpoint.as_ref()),
            recipe.weight_bytes,
            "{name}"
        );
        if Architecture::from_name(&recipe.architecture).is_none() {
            continue;
        }
        run_ok(&strs(&place.export(name, &["--checkpoint", &checkpoint])));
        let manifest = place.manifest();
        assert_eq!(
            manifest["model"]["architecture"], recipe.architecture,
            "{name}"
        );
        assert_eq!(
            manifest["stages"].as_array().unwrap().len(),
            recipe.suggested.stages,
            "{name}"
        );
        assert_eq!(manifest["device"], json!(recipe.suggested.device), "{name}");
        assert_eq!(
            manifest["precision"],
            json!(recipe.suggested.precision),
            "{name}"
        );
        let stages = manifest["stages"].as_array().unwrap().iter();
        let weights: u64 = stages
            .map(|stage| stage["weight_bytes"].as_u64().unwrap())
            .sum();
        assert_eq!(weights, recipe.weight_bytes, "{name}");
        let blocks = fs::metadata(Path::new(&checkpoint).join("model.safetensors"))
            .unwrap()
            .blocks();
        assert!(blocks * 512 < 10_000_000, "{name}: the weights took disk");
        exported += 1;
    }
    assert!(exported >= 5, "{exported}");
}

#[test]
fn options_override_the_recipe() {
    let place = Place::new();
    let checkpoint = place.arg("checkpoint");
    full_size(&Recipe::named("worldpm-72b").unwrap(), checkpoint.as_ref());
    let more = [
        "--checkpoint",
        &checkpoint,
        "--device",
        "cpu",
        "--stages",
        "3",
    ];
    run_ok(&strs(&place.export("worldpm-72b", &more)));
    let manifest = place.manifest();
    assert_eq!(manifest["device"], "cpu");
    assert_eq!(manifest["stages"].as_array().unwrap().len(), 3);
}

fn fails(args: &[String], status: i32, parts: &[&str]) {
    let output = run(&strs(args));
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(status), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn wrong_recipes() {
    let place = Place::new();
    let tiny = support::checkpoint(&["--shape", "tiny"]);
    let tiny = ["--checkpoint", tiny.to_str().unwrap()];
    fails(
        &place.export("worldpm-72b", &tiny),
        1,
        &["recipe `worldpm-72b`", "`hidden_size`", "256", "8192"],
    );
    fails(
        &place.export("rm-mistral-7b", &tiny),
        1,
        &[
            "`architecture`",
            "Qwen2ForRewardModel",
            "MistralForSequenceClassification",
        ],
    );
    fails(
        &place.export("worldpm-7b", &tiny),
        1,
        &[
            "`worldpm-7b`",
            "no recipe of that name",
            "worldpm-72b-rlhflow",
        ],
    );
    let broken = place.arg("broken.json");
    fs::write(&broken, "{\"name\": 1}").unwrap();
    fails(&place.export(&broken, &tiny), 1, &["broken.json", "line 1"]);
    assert!(!place.at("bundle").exists());
    let neither = ["export", "--out", &place.arg("bundle")].map(str::to_owned);
    fails(&neither, 2, &["--checkpoint"]);
}

#[test]
fn a_recipe_of_ones_own() {
    let place = Place::new();
    let checkpoint = support::checkpoint(&["--shape", "tiny"]);
    let mut recipe = serde_json::to_value(Recipe::named("worldpm-72b").unwrap()).unwrap();
    let config: Value =
        serde_json::from_slice(&fs::read(checkpoint.join("config.json")).unwrap()).unwrap();
    let shape = recipe["shape"].as_object_mut().unwrap();
    shape["head_dim"] = json!(64);
    for (field, value) in shape
        .iter_mut()
        .filter(|(field, _)| !["head_dim", "num_labels"].contains(&field.as_str()))
    {
        *value = config[field].clone();
    }
    recipe["name"] = json!("mine");
    recipe["suggested"] = json!({"device": "cpu", "precision": "fp16", "stages": 2});
    let file = place.arg("mine.json");
    // What the parameters are, the error says.
    fs::write(&file, recipe.to_string()).unwrap();
    let args = place.export(&file, &["--checkpoint", checkpoint.to_str().unwrap()]);
    let text = stderr(&run(&strs(&args)));
    let parameters: u64 = text.split("makes ").nth(1).unwrap().trim().parse().unwrap();
    recipe["parameters"] = json!(parameters);
    recipe["weight_bytes"] = json!(2 * parameters);
    fs::write(&file, recipe.to_string()).unwrap();
    run_ok(&strs(&args));
    let manifest = place.manifest();
    assert_eq!(manifest["precision"], "fp16");
    assert_eq!(manifest["stages"].as_array().unwrap().len(), 2);
}

#[test]
fn the_list() {
    let text = String::from_utf8(run_ok(&["recipes"]).stdout).unwrap();
    assert_eq!(text.lines().count(), Recipe::names().count());
    for (line, name) in text.lines().zip(Recipe::names()) {
        assert!(line.starts_with(name), "{line}");
    }
    let all: Vec<Recipe> = serde_json::from_slice(&run_ok(&["recipes", "--json"]).stdout).unwrap();
    assert_eq!(all, Recipe::all().unwrap());
}
