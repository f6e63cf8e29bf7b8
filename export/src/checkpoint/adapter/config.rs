//! `adapter_config.json`: ranks, scales, and what is no plain LoRA.

use std::path::Path;

use regex::Regex;
use serde_json::Value;
use worldpm_ort_bundle::{checkpoint_files::read_text, hash::sha256_hex, json::kind};

use super::select::Selection;
use crate::{
    checkpoint::{fields::Fields, python_json},
    error::{Error, Result},
};

/// A real one has a few KB.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Fields that make an adapter something else than `W + scale * B @ A`, and what.
const OTHER_FORMS: [(&str, &str); 14] = [
    ("use_dora", "DoRA"),
    ("use_qalora", "QALoRA"),
    ("use_bdlora", "BD-LoRA"),
    ("alora_invocation_tokens", "activated LoRA"),
    ("arrow_config", "Arrow routing"),
    ("kasa_config", "KaSA"),
    ("monteclora_config", "MonteCLoRA"),
    ("velora_config", "VeLoRA"),
    ("lora_bias", "LoRA with a bias of its own"),
    ("layer_replication", "replication of layers"),
    ("target_parameters", "LoRA on single parameters"),
    ("trainable_token_indices", "training of single tokens"),
    ("megatron_config", "LoRA on Megatron's layers"),
    ("fan_in_fan_out", "LoRA on weights stored as [in, out]"),
];

/// Fields that may be true or an object without changing what is merged: how the adapter was trained or is
/// loaded, or read by name here.
const HARMLESS: [&str; 11] = [
    "alpha_pattern",
    "auto_mapping",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "init_lora_weights",
    "loftq_config",
    "lora_ga_config",
    "rank_pattern",
    "use_rslora",
];

/// Ways to initialise that leave the base model as it is. The others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) take
/// what the new layers start with out of the base model's weights.
const PLAIN_STARTS: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

/// The part of `adapter_config.json` that decides what is merged.
#[derive(Debug)]
pub(super) struct AdapterConfig {
    /// `r`.
    pub(super) rank: usize,
    /// `lora_alpha`.
    pub(super) alpha: f64,
    /// The scale is `alpha / sqrt(r)`, not `alpha / r`.
    rank_stabilized: bool,
    ranks: Patterns<usize>,
    alphas: Patterns<f64>,
    /// Modules that were trained whole, by the end of their names.
    pub(super) modules_to_save: Vec<String>,
    selection: Selection,
}

/// Values for the modules whose names match; the first match counts.
type Patterns<T> = Vec<(Regex, T)>;

impl AdapterConfig {
    /// Reads and checks the file; returns its SHA-256 too.
    ///
    /// # Errors
    /// [`Error::Bundle`] when it cannot be read; [`Error::Config`] for a field that makes no sense;
    /// [`Error::UnsupportedConfig`] for anything but plain LoRA.
    pub(super) fn read(path: &Path) -> Result<(Self, String)> {
        let text = read_text(path, MAX_CONFIG_BYTES)?;
        let whole = |problem: String| Error::Config {
            path: path.to_owned(),
            field: "(whole file)".to_owned(),
            problem,
        };
        let value: Value =
            python_json::parse(&text).map_err(|e| whole(format!("not valid JSON: {e}")))?;
        let Value::Object(map) = &value else {
            return Err(whole(format!(
                "must be a JSON object, not {}",
                kind(&value)
            )));
        };
        let fields = Fields {
            path,
            prefix: "",
            map,
        };
        refuse_other_kinds(&fields)?;
        let modules_to_save = fields.module_names("modules_to_save")?;
        let config = Self {
            selection: Selection::read(&fields, &modules_to_save)?,
            rank: fields.size("r")?,
            alpha: fields.positive("lora_alpha")?,
            rank_stabilized: fields.flag("use_rslora")?.unwrap_or(false),
            ranks: patterns(&fields, "rank_pattern", "a whole number above 0", |value| {
                let rank = value.as_u64().filter(|rank| *rank > 0)?;
                usize::try_from(rank).ok()
            })?,
            alphas: patterns(&fields, "alpha_pattern", "a number above 0", |value| {
                value.as_f64().filter(|alpha| *alpha > 0.0)
            })?,
            modules_to_save,
        };
        Ok((config, sha256_hex(text.as_bytes())))
    }

    /// Whether the file is for a module, which is a linear layer or an embedding.
    pub(super) fn selects(&self, module: &str, is_linear: bool) -> bool {
        self.selection.selects(module, is_linear)
    }

    /// The rank of a module's update.
    pub(super) fn rank(&self, module: &str) -> usize {
        matching(&self.ranks, module).unwrap_or(self.rank)
    }

    /// What a module's `B @ A` is multiplied with.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn scale(&self, module: &str) -> f64 {
        let alpha = matching(&self.alphas, module).unwrap_or(self.alpha);
        let rank = self.rank(module) as f64;
        match self.rank_stabilized {
            true => alpha / rank.sqrt(),
            false => alpha / rank,
        }
    }
}

fn matching<T: Copy>(patterns: &Patterns<T>, module: &str) -> Option<T> {
    patterns
        .iter()
        .find(|(pattern, _)| pattern.is_match(module))
        .map(|(_, value)| *value)
}

/// An object from patterns to values, in its order.
///
/// A pattern has to match a module's name from its beginning, or from after a dot, to its end: as
/// `get_pattern_key` of PEFT has it.
fn patterns<T>(
    fields: &Fields<'_>,
    name: &str,
    expected: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Patterns<T>> {
    let Some(value) = fields.get(name) else {
        return Ok(Vec::new());
    };
    let Value::Object(map) = value else {
        return Err(fields.error(name, format!("must be an object, not {}", kind(value))));
    };
    map.iter()
        .map(|(key, value)| {
            let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{key})$"));
            let regex = regex.map_err(|e| {
                fields.error(
                    name,
                    format!("`{key}` is no regular expression of a kind known here: {e}"),
                )
            })?;
            let value = read(value).ok_or_else(|| {
                fields.error(name, format!("`{key}` is {value}; it must be {expected}"))
            })?;
            Ok((regex, value))
        })
        .collect()
}

/// Refuses, by name, whatever is no plain LoRA for sequence classification.
fn refuse_other_kinds(fields: &Fields<'_>) -> Result<()> {
    match fields.text("peft_type")? {
        Some("LORA") => {}
        Some(other) => {
            return Err(fields.unsupported(
                format!("an adapter of type {other}"),
                "only LORA adapters are merged; merge it with PEFT (`merge_and_unload`) and export the result".to_owned(),
            ));
        }
        None => {
            return Err(fields.error("peft_type", "is missing; this is no adapter saved by PEFT"));
        }
    }
    match fields.text("task_type")? {
        Some("SEQ_CLS") | None => {}
        Some(other) => {
            return Err(fields.unsupported(
                format!("an adapter for the task {other}"),
                "reward models are of task SEQ_CLS; if it was trained on this very model, set `task_type` to SEQ_CLS"
                    .to_owned(),
            ));
        }
    }
    let merge_first = "merge it with PEFT (`merge_and_unload`) and export the result";
    for (field, form) in OTHER_FORMS {
        if fields.get(field).is_some_and(is_on) {
            return Err(fields.unsupported(format!("{form} (`{field}`)"), merge_first.to_owned()));
        }
    }
    match fields.text("bias")? {
        None | Some("none" | "all" | "lora_only") => {}
        Some(other) => {
            return Err(fields.error(
                "bias",
                format!("is \"{other}\"; it must be none, all or lora_only"),
            ));
        }
    }
    if let Some(start) = fields.get("init_lora_weights") {
        let plain = match start {
            Value::Bool(_) => true,
            Value::String(name) => PLAIN_STARTS.contains(&name.as_str()),
            _ => false,
        };
        if !plain {
            return Err(fields.unsupported(
                format!("`init_lora_weights` {start}, which changes the base model too,"),
                "save the adapter with `path_initial_model_for_weight_conversion`, which makes it plain LoRA"
                    .to_owned(),
            ));
        }
    }
    let unknown = fields.map.iter().find(|(name, value)| {
        let switch = matches!(value, Value::Bool(true) | Value::Object(_));
        switch && is_on(value) && !HARMLESS.contains(&name.as_str())
    });
    match unknown {
        Some((name, value)) => Err(fields.unsupported(
            format!("`{name}`: {value}, which is not known here,"),
            merge_first.to_owned(),
        )),
        None => Ok(()),
    }
}

/// Whether a field holds something that says more than "no".
fn is_on(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(change: &Value) -> Result<AdapterConfig> {
        let mut value =
            json!({"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 4, "lora_alpha": 8});
        for (name, field) in change.as_object().unwrap() {
            value[name] = field.clone();
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("adapter_config.json");
        std::fs::write(&path, value.to_string()).unwrap();
        AdapterConfig::read(&path).map(|(config, _)| config)
    }

    /// Expected values are those of `peft.utils.other.get_pattern_key` and `LoraLayer.update_layer`.
    #[test]
    fn ranks_and_scales() {
        let config = read(&json!({
            "rank_pattern": {"q_proj": 8, "layers.1.mlp.up_proj": 2, "^model.layers.0.*k_proj": 16},
            "alpha_pattern": {"1.self_attn.q_proj": 1, "(q|v)_proj": 24.0, "oj": 99},
        }))
        .unwrap();
        let cases = [
            ("model.layers.0.self_attn.q_proj", 8, 3.0),
            ("model.layers.1.self_attn.q_proj", 8, 0.125),
            ("model.layers.0.self_attn.v_proj", 4, 6.0),
            ("model.layers.0.self_attn.o_proj", 4, 2.0),
            ("model.layers.1.mlp.up_proj", 2, 4.0),
            ("model.layers.11.mlp.up_proj", 4, 2.0),
            ("model.layers.0.self_attn.k_proj", 16, 0.5),
            ("model.layers.1.self_attn.k_proj", 4, 2.0),
        ];
        for (module, rank, scale) in cases {
            assert_eq!(config.rank(module), rank, "{module}");
            assert_eq!(config.scale(module), scale, "{module}");
        }
        let config = read(&json!({"use_rslora": true})).unwrap();
        assert_eq!(config.scale("q_proj"), 4.0);
    }

    #[test]
    fn harmless_fields() {
        read(&json!({
            "auto_mapping": {"base_model_class": "Qwen2ForRewardModel"}, "inference_mode": true,
            "loftq_config": {}, "use_dora": false, "megatron_core": "megatron.core", "bias": "lora_only",
            "init_lora_weights": "gaussian", "target_modules": "all-linear", "task_type": null,
            "qalora_group_size": 16, "target_parameters": [], "modules_to_save": ["score"],
        }))
        .unwrap();
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            (json!({"peft_type": "LOHA"}), "LOHA"),
            (json!({"peft_type": "IA3"}), "IA3"),
            (json!({"peft_type": null}), "peft_type"),
            (json!({"task_type": "CAUSAL_LM"}), "CAUSAL_LM"),
            (json!({"use_dora": true}), "DoRA"),
            (json!({"fan_in_fan_out": true}), "fan_in_fan_out"),
            (json!({"lora_bias": true}), "lora_bias"),
            (json!({"trainable_token_indices": [0]}), "single tokens"),
            (json!({"layer_replication": [[0, 2]]}), "layers"),
            (
                json!({"init_lora_weights": "pissa_niter_4"}),
                "pissa_niter_4",
            ),
            (json!({"init_lora_weights": "olora"}), "olora"),
            (json!({"use_something_new": true}), "use_something_new"),
            (json!({"something_config": {"a": 1}}), "something_config"),
            (json!({"bias": "some"}), "`bias`"),
            (json!({"r": 0}), "`r`"),
            (json!({"r": "4"}), "`r`"),
            (json!({"lora_alpha": null}), "`lora_alpha`"),
            (json!({"lora_alpha": -1}), "`lora_alpha`"),
            (json!({"use_rslora": 1}), "`use_rslora`"),
            (json!({"rank_pattern": [1]}), "`rank_pattern`"),
            (json!({"rank_pattern": {"q_proj": 0}}), "q_proj"),
            (json!({"alpha_pattern": {"q_proj": "8"}}), "q_proj"),
            (json!({"alpha_pattern": {"(?=q)_proj": 8}}), "(?=q)_proj"),
            (json!({"modules_to_save": "score"}), "modules_to_save"),
            (json!({"modules_to_save": [""]}), "modules_to_save"),
        ];
        for (change, part) in cases {
            let error = read(&change).unwrap_err().to_string();
            assert!(error.contains(part), "{change}: {error}");
            assert!(error.contains("adapter_config.json"), "{error}");
        }
    }
}
