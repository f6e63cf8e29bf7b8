//! What the names of an adapter's tensors mean.

/// How PEFT calls the model that an adapter is on.
const PREFIX: &str = "base_model.model.";

/// What a tensor of an adapter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    A,
    B,
    EmbeddingA,
    EmbeddingB,
    /// It replaces the checkpoint's.
    Whole(Whole),
    /// It is what the checkpoint had before training, and without effect.
    Original,
}

/// Why a tensor is in the file as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// Its module was trained whole.
    Module,
    /// It belongs to a layer that the adapter changes: a trained bias, or an embedding that was resized.
    BaseLayer,
    /// With `bias` "all", PEFT saves the biases of a module a second time, under the adapter's own name.
    Copy,
}

/// In the name of a [`Whole::Copy`].
const COPY: &str = ".modules_to_save.default.";

const LOW_RANK: [(&str, Role); 4] = [
    (".lora_A.weight", Role::A),
    (".lora_B.weight", Role::B),
    (".lora_embedding_A", Role::EmbeddingA),
    (".lora_embedding_B", Role::EmbeddingB),
];

/// The checkpoint's tensor that an adapter's tensor is for, and what it does there.
///
/// # Errors
/// What is wrong with the name.
pub(super) fn parse(name: &str) -> Result<(String, Role), String> {
    let Some(inner) = name.strip_prefix(PREFIX) else {
        return Err(format!(
            "is no tensor of an adapter: those begin with `{PREFIX}`"
        ));
    };
    for (suffix, role) in LOW_RANK {
        if let Some(module) = inner.strip_suffix(suffix) {
            return Ok((format!("{module}.weight"), role));
        }
    }
    if inner.contains(".lora_") {
        return Err(
            "is no part of plain LoRA, which has lora_A.weight and lora_B.weight, or lora_embedding_A and \
             lora_embedding_B"
                .to_owned(),
        );
    }
    if inner.contains(".base_layer.") {
        return Ok((
            inner.replacen(".base_layer.", ".", 1),
            Role::Whole(Whole::BaseLayer),
        ));
    }
    if inner.contains(".original_module.") {
        return Ok((inner.replacen(".original_module.", ".", 1), Role::Original));
    }
    if inner.contains(COPY) {
        return Ok((inner.replacen(COPY, ".", 1), Role::Whole(Whole::Copy)));
    }
    // Some versions leave out the wrapper's name, some do not.
    Ok((
        inner.replacen(".modules_to_save.", ".", 1),
        Role::Whole(Whole::Module),
    ))
}

/// How an adapter calls a tensor that replaces the checkpoint's.
pub(super) fn saved(tensor: &str) -> String {
    format!("{PREFIX}{tensor}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_of_peft() {
        let cases = [
            (
                "model.layers.0.self_attn.q_proj.lora_A.weight",
                "model.layers.0.self_attn.q_proj.weight",
                Role::A,
            ),
            (
                "model.layers.0.mlp.down_proj.lora_B.weight",
                "model.layers.0.mlp.down_proj.weight",
                Role::B,
            ),
            (
                "model.embed_tokens.lora_embedding_A",
                "model.embed_tokens.weight",
                Role::EmbeddingA,
            ),
            (
                "model.embed_tokens.lora_embedding_B",
                "model.embed_tokens.weight",
                Role::EmbeddingB,
            ),
            (
                "model.embed_tokens.base_layer.weight",
                "model.embed_tokens.weight",
                Role::Whole(Whole::BaseLayer),
            ),
            (
                "model.layers.0.self_attn.q_proj.base_layer.bias",
                "model.layers.0.self_attn.q_proj.bias",
                Role::Whole(Whole::BaseLayer),
            ),
            ("score.weight", "score.weight", Role::Whole(Whole::Module)),
            (
                "score.modules_to_save.default.0.bias",
                "score.0.bias",
                Role::Whole(Whole::Copy),
            ),
            (
                "score.original_module.0.bias",
                "score.0.bias",
                Role::Original,
            ),
            (
                "score.modules_to_save.0.bias",
                "score.0.bias",
                Role::Whole(Whole::Module),
            ),
        ];
        for (name, tensor, role) in cases {
            assert_eq!(
                parse(&saved(name)).unwrap(),
                (tensor.to_owned(), role),
                "{name}"
            );
        }
    }

    #[test]
    fn other_names() {
        for name in [
            "model.layers.0.self_attn.q_proj.lora_A.weight",
            "base_model.model.x.lora_magnitude_vector",
            "base_model.model.x.lora_B.bias",
            "base_model.model.x.lora_A.default.weight",
            "",
        ] {
            assert!(parse(name).is_err(), "{name}");
        }
    }
}
