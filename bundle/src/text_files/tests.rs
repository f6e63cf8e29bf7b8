#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::{class::Outline, *};

fn resolved(
    tokenizer_config: &Value,
    model: &Value,
    tokenizer: &Value,
) -> (TokenizerClass, Vec<String>) {
    let outline = Outline::of(tokenizer.to_string().as_bytes());
    class::resolve(tokenizer_config, model, &outline)
}

#[test]
fn classes_are_those_of_auto_tokenizer() {
    use TokenizerClass::{GemmaTokenizer, LlamaTokenizer, Qwen2Tokenizer, TokenizersBackend};
    let plain = json!({});
    let bytes =
        json!({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}]}});
    let decoded = json!({"decoder": {"type": "ByteLevel"}});
    for (class, model_type, tokenizer, expected) in [
        (None, "llama", &plain, TokenizersBackend),
        (None, "", &plain, TokenizersBackend),
        (None, "qwen2", &plain, Qwen2Tokenizer),
        (None, "qwen3", &plain, Qwen2Tokenizer),
        (None, "gemma2", &plain, GemmaTokenizer),
        (None, "mistral", &plain, TokenizersBackend),
        (
            Some("PreTrainedTokenizerFast"),
            "qwen2",
            &plain,
            Qwen2Tokenizer,
        ),
        (Some("LlamaTokenizerFast"), "qwen2", &bytes, Qwen2Tokenizer),
        (
            Some("PreTrainedTokenizerFast"),
            "qwen3",
            &plain,
            TokenizersBackend,
        ),
        (
            Some("PreTrainedTokenizerFast"),
            "gemma2",
            &plain,
            TokenizersBackend,
        ),
        (Some("LlamaTokenizer"), "llama", &plain, LlamaTokenizer),
        (Some("LlamaTokenizerFast"), "llama", &plain, LlamaTokenizer),
        (
            Some("LlamaTokenizerFast"),
            "llama",
            &bytes,
            TokenizersBackend,
        ),
        (
            Some("LlamaTokenizerFast"),
            "qwen3",
            &decoded,
            TokenizersBackend,
        ),
        (Some("LlamaTokenizer"), "mistral", &plain, TokenizersBackend),
        (Some("Qwen2Tokenizer"), "llama", &bytes, Qwen2Tokenizer),
        (Some("GemmaTokenizerFast"), "gemma2", &plain, GemmaTokenizer),
    ] {
        let config = json!({"tokenizer_class": class});
        let model = json!({"model_type": model_type});
        let (found, _) = resolved(&config, &model, tokenizer);
        assert_eq!(found, expected, "{class:?}, {model_type}");
        // The model's configuration may name it too.
        let model = json!({"model_type": model_type, "tokenizer_class": class});
        assert_eq!(resolved(&plain, &model, tokenizer).0, expected);
    }
}

#[test]
fn what_transformers_does_otherwise_is_said() {
    let note =
        |config: Value, tokenizer: Value| resolved(&config, &json!({}), &tokenizer).1.join("\n");
    let unknown = note(json!({"tokenizer_class": "CohereTokenizer"}), json!({}));
    assert!(
        unknown.contains("CohereTokenizer is not known"),
        "{unknown}"
    );
    let code = note(
        json!({"auto_map": {"AutoTokenizer": ["a.B", null]}}),
        json!({}),
    );
    assert!(code.contains("auto_map"), "{code}");
    let class = json!({"tokenizer_class": "LlamaTokenizer"});
    let legacy = json!({"normalizer": {"type": "Prepend", "prepend": "▁"}});
    let rebuilt = note(class.clone(), legacy);
    assert!(
        rebuilt.contains("ids are those of tokenizer.json"),
        "{rebuilt}"
    );
    let same = json!({"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}});
    assert_eq!(note(class, same), "");
}

#[test]
fn the_list() {
    for name in NAMES.into_iter().chain([
        "additional_chat_templates/tool_use.jinja",
        "additional_chat_templates.tool_use.jinja",
    ]) {
        assert!(is_text_file(name), "{name}");
    }
    for name in [
        "",
        "config.json",
        "chat_template.json",
        "tokenizer.model",
        "additional_chat_templates",
        "additional_chat_templates/",
        "additional_chat_templates/x.txt",
        "additional_chat_templates/../../etc/x.jinja",
        "additional_chat_templates/a/b.jinja",
        "additional_chat_templates/a\\b.jinja",
        "additional_chat_templatesx.jinja",
        "../tokenizer.json",
        "/tokenizer.json",
    ] {
        assert!(!is_text_file(name), "{name}");
    }
}

#[test]
fn pointers_are_not_text() {
    assert!(files::is_lfs_pointer(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    ));
    assert!(files::is_lfs_pointer(
        b"version https://hawser.github.com/spec/v1\n"
    ));
    assert!(!files::is_lfs_pointer(b"version {{ messages }}"));
}
