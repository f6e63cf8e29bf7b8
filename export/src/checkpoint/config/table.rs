//! Every field that a `config.json` of our families can have, and what becomes of it.
//!
//! The fields are those that `scripts/list-config-fields.py` finds in `transformers` 4 and 5; a test fails on one that is
//! not here. Whether a field changes the mathematics was tried out with both on small models, under every kind of value.

use crate::arch::Decoder;

/// What becomes of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// It is read.
    Read,
    /// It is read for the decoders that have it ([`Decoder::fields`]). The classes of the others pass over it, as
    /// `transformers`' do.
    Own,
    /// No score depends on it.
    Harmless,
    /// It has to be absent, or one of these values (a JSON list), which are what is computed.
    Only(&'static str),
}

impl Rule {
    /// Whether the field of this name is read for a decoder.
    pub(super) fn is_read(self, name: &str, decoder: &Decoder) -> bool {
        match self {
            Self::Read => true,
            Self::Own => decoder.fields.contains(&name),
            Self::Harmless | Self::Only(_) => false,
        }
    }
}

use Rule::{Harmless, Only, Own, Read};

/// A rule, and the reason for it, or what the field is about.
pub(super) type Entry = (Rule, &'static str);

/// What says that there is none of a thing.
const NOTHING: &str = "[null, false, [], {}, \"\"]";

const READ: Entry = (Read, "decides what is computed");
const OWN: Entry = (Own, "read where the class has it");

const GENERATION: Entry = (Harmless, "only the generation of text reads it");
const TRAINING: Entry = (Harmless, "only training reads it");
const START: Entry = (
    Harmless,
    "how weights are initialised that a checkpoint lacks",
);
const LOADING: Entry = (Harmless, "an argument of loading that no class keeps");
const RECORD: Entry = (Harmless, "a record of where the file is from");
const KERNEL: Entry = (
    Harmless,
    "which kernel computes attention, not what it computes",
);
const OUTPUT: Entry = (Harmless, "which results a call returns, not what they are");
const TOKENS: Entry = (
    Harmless,
    "about text and tokens, which the tokenizer's files decide",
);
const PLACES: Entry = (Harmless, "where parts of the model are placed");
const VISION: Entry = (Harmless, "only models of images read it");
const LANGUAGE_HEAD: Entry = (Harmless, "only the head of a language model reads it");
const FURTHER_TOKENS: Entry = (Harmless, "only heads that predict further tokens read it");
const PER_LAYER: Entry = (Only(NOTHING), "layers that differ from each other");
const EXPERTS: Entry = (Only(NOTHING), "layers with experts");
const OTHER_FILES: Entry = (Only(NOTHING), "other files with parts of the model");
const CROSS_ATTENTION: Entry = (Only(NOTHING), "an encoder beside the decoder");

/// The fields of the whole file, in the order of the alphabet.
pub(super) const FIELDS: &[(&str, Entry)] = &[
    ("_attn_implementation", KERNEL),
    ("_attn_implementation_autoset", KERNEL),
    ("_attn_implementation_internal", KERNEL),
    ("_auto_class", RECORD),
    ("_commit_hash", RECORD),
    ("_configuration_file", LOADING),
    ("_experts_implementation", KERNEL),
    ("_experts_implementation_internal", KERNEL),
    ("_from_auto", LOADING),
    ("_from_pipeline", LOADING),
    ("_heterogeneity_spec", PER_LAYER),
    ("_is_quantized", (Only(NOTHING), "quantised weights")),
    ("_name_or_path", RECORD),
    (
        "_pre_quantization_dtype",
        (Only(NOTHING), "quantised weights"),
    ),
    ("adapter_kwargs", LOADING),
    ("add_cross_attention", CROSS_ATTENTION),
    ("alibi", (Only(NOTHING), "other positions than rotary ones")),
    (
        "allow_global_per_layer_attribute_access",
        (Harmless, "about `per_layer_config`, which is refused"),
    ),
    ("architectures", READ),
    ("assistant_confidence_threshold", GENERATION),
    ("assistant_lookbehind", GENERATION),
    ("attention_bias", OWN),
    (
        "attention_chunk_size",
        (Only("[null]"), "attention in chunks"),
    ),
    ("attention_dropout", TRAINING),
    ("attn_implementation", KERNEL),
    ("attn_logit_softcapping", OWN),
    ("attribute_map", (Only("[{}]"), "fields under other names")),
    ("auto_map", READ),
    ("bad_words_ids", GENERATION),
    ("base_config_key", LOADING),
    ("base_model_ep_plan", PLACES),
    ("base_model_fsdp_plan", PLACES),
    ("base_model_pp_plan", PLACES),
    ("base_model_tp_plan", PLACES),
    ("begin_suppress_tokens", GENERATION),
    ("bos_token_id", TOKENS),
    ("cache_dir", LOADING),
    ("cache_implementation", GENERATION),
    ("chain_hidden_post_norm", FURTHER_TOKENS),
    (
        "chunk_size_feed_forward",
        (
            Harmless,
            "divides the work of the MLP and leaves its result",
        ),
    ),
    ("classifier_dropout", TRAINING),
    ("code_revision", LOADING),
    ("commit_message", LOADING),
    ("config", LOADING),
    ("configuration_files", OTHER_FILES),
    ("cross_attention_hidden_size", CROSS_ATTENTION),
    ("decoder_start_token_id", GENERATION),
    (
        "default_rope_type",
        (Only("[\"default\"]"), "another kind of rotary positions"),
    ),
    (
        "default_theta",
        (Only("[null, 10000]"), "another base of rotary positions"),
    ),
    ("distributed_config", PLACES),
    ("diversity_penalty", GENERATION),
    ("do_sample", GENERATION),
    ("dtype", READ),
    ("early_stopping", GENERATION),
    ("encoder_no_repeat_ngram_size", GENERATION),
    ("encoder_repetition_penalty", GENERATION),
    ("eos_token_id", GENERATION),
    ("epsilon_cutoff", GENERATION),
    ("eta_cutoff", GENERATION),
    ("experts_implementation", KERNEL),
    ("exponential_decay_length_penalty", GENERATION),
    ("extra_config_files", OTHER_FILES),
    ("extra_files", OTHER_FILES),
    ("features_only", VISION),
    ("final_logit_softcapping", LANGUAGE_HEAD),
    ("finetuning_task", RECORD),
    ("first_k_dense_replace", EXPERTS),
    ("force_download", LOADING),
    ("forced_bos_token_id", GENERATION),
    ("forced_eos_token_id", GENERATION),
    (
        "fusion_config",
        (
            Only(NOTHING),
            "parts of the model that are put together anew",
        ),
    ),
    ("gguf_file", LOADING),
    ("gradient_checkpointing", TRAINING),
    ("has_no_defaults_at_init", LOADING),
    ("head_dim", READ),
    ("hidden_act", OWN),
    ("hidden_activation", OWN),
    ("hidden_dropout", TRAINING),
    ("hidden_size", READ),
    ("id2label", READ),
    ("ignore_keys_at_rope_validation", LOADING),
    ("init_std", START),
    ("initializer_factor", START),
    ("initializer_range", START),
    ("intermediate_size", READ),
    ("is_causal", (Only("[true]"), "attention to later tokens")),
    (
        "is_decoder",
        (Harmless, "the classes here are decoders whatever it says"),
    ),
    ("is_encoder_decoder", CROSS_ATTENTION),
    ("is_heterogeneous", PER_LAYER),
    ("keys_to_ignore_at_inference", OUTPUT),
    (
        "label2id",
        (
            Harmless,
            "the inverse of `id2label`, which names the scores",
        ),
    ),
    ("layer_types", OWN),
    ("length_penalty", GENERATION),
    ("local_files_only", LOADING),
    ("logits_mup_width_multiplier", LANGUAGE_HEAD),
    ("max_length", GENERATION),
    ("max_position_embeddings", READ),
    ("max_window_layers", OWN),
    ("min_length", GENERATION),
    ("mlp_bias", OWN),
    ("mlp_layer_types", EXPERTS),
    ("model_type", READ),
    ("mtp_hidden_states_first", FURTHER_TOKENS),
    ("mtp_layer_types", FURTHER_TOKENS),
    ("mtp_mlp_layer_types", FURTHER_TOKENS),
    ("mtp_per_layer_config", FURTHER_TOKENS),
    ("name_or_path", RECORD),
    ("no_repeat_ngram_size", GENERATION),
    (
        "no_rope_layers",
        (Only(NOTHING), "layers without positions"),
    ),
    ("num_assistant_tokens", GENERATION),
    ("num_assistant_tokens_schedule", GENERATION),
    ("num_attention_heads", READ),
    ("num_beam_groups", GENERATION),
    ("num_beams", GENERATION),
    ("num_channels", VISION),
    ("num_hidden_layers", READ),
    ("num_key_value_heads", READ),
    ("num_labels", READ),
    ("num_mtp_layers", FURTHER_TOKENS),
    ("num_return_sequences", GENERATION),
    ("original_max_position_embeddings", READ),
    ("out_features", VISION),
    ("out_indices", VISION),
    ("output_attentions", OUTPUT),
    ("output_hidden_states", OUTPUT),
    ("output_loading_info", LOADING),
    ("output_scores", GENERATION),
    ("pad_token_id", READ),
    ("partial_rotary_factor", READ),
    ("per_layer_attributes", PER_LAYER),
    ("per_layer_config", PER_LAYER),
    ("prefix", TOKENS),
    (
        "pretraining_tp",
        (Harmless, "divides products into parts and leaves their sum"),
    ),
    ("problem_type", (Harmless, "which loss training takes")),
    ("proxies", LOADING),
    ("pruned_heads", (Only(NOTHING), "heads that are taken out")),
    ("quantization_config", READ),
    ("query_pre_attn_scalar", OWN),
    ("remove_invalid_values", GENERATION),
    ("repetition_penalty", GENERATION),
    ("repo_id", LOADING),
    ("resume_download", LOADING),
    ("return_dict", OUTPUT),
    ("return_dict_in_generate", GENERATION),
    ("return_unused_kwargs", LOADING),
    ("revision", LOADING),
    ("rms_norm_eps", READ),
    ("rope_parameters", READ),
    ("rope_scaling", READ),
    ("rope_theta", READ),
    ("sep_token_id", TOKENS),
    (
        "serialize_explicit_per_layer_config",
        (Harmless, "about `per_layer_config`, which is refused"),
    ),
    ("skip", PER_LAYER),
    ("sliding_window", OWN),
    (
        "sliding_window_size",
        (
            Harmless,
            "a second name of `sliding_window` in published files, which no class reads",
        ),
    ),
    ("sub_configs", (Only(NOTHING), "models of several parts")),
    (
        "sub_configs_defaults",
        (Only(NOTHING), "models of several parts"),
    ),
    ("subfolder", LOADING),
    ("suppress_tokens", GENERATION),
    ("target_lookbehind", GENERATION),
    ("task_specific_params", GENERATION),
    ("temperature", GENERATION),
    ("tf_legacy_loss", TRAINING),
    ("tie_encoder_decoder", CROSS_ATTENTION),
    ("tie_word_embeddings", READ),
    ("token", LOADING),
    (
        "token_classification_bias",
        (Harmless, "only heads that label tokens read it"),
    ),
    ("tokenizer_class", TOKENS),
    ("top_k", GENERATION),
    ("top_p", GENERATION),
    ("torch_dtype", READ),
    ("torchscript", OUTPUT),
    ("transformers_version", RECORD),
    (
        "transformers_weights",
        (Harmless, "heeded where the files of the weights are chosen"),
    ),
    ("trust_remote_code", LOADING),
    ("typical_p", GENERATION),
    ("unpadded_vocab_size", LANGUAGE_HEAD),
    ("unsloth_fixed", RECORD),
    ("unsloth_version", RECORD),
    (
        "use_alibi",
        (Only(NOTHING), "other positions than rotary ones"),
    ),
    ("use_auth_token", LOADING),
    ("use_bfloat16", TRAINING),
    ("use_bidirectional_attention", READ),
    ("use_cache", GENERATION),
    (
        "use_mrope",
        (Only("[null, false]"), "positions of several dimensions"),
    ),
    ("use_pretrained_backbone", VISION),
    ("use_return_dict", OUTPUT),
    ("use_sliding_window", OWN),
    ("use_timm_backbone", VISION),
    ("vocab_size", READ),
];

/// The fields of `rope_parameters` and `rope_scaling`, in the order of the alphabet.
pub(super) const ROPE_FIELDS: &[(&str, Entry)] = &[
    ("attention_factor", READ),
    ("beta_fast", READ),
    ("beta_slow", READ),
    ("factor", READ),
    ("high_freq_factor", READ),
    (
        "long_factor",
        (
            Harmless,
            "only the kind `longrope` reads it, which is refused",
        ),
    ),
    ("low_freq_factor", READ),
    ("mrope_section", (Harmless, "only models of images read it")),
    ("mscale", READ),
    ("mscale_all_dim", READ),
    ("original_max_position_embeddings", READ),
    ("partial_rotary_factor", READ),
    ("rope_theta", READ),
    ("rope_type", READ),
    (
        "short_factor",
        (
            Harmless,
            "only the kind `longrope` reads it, which is refused",
        ),
    ),
    ("truncate", READ),
    ("type", READ),
];
