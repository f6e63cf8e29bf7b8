//! Patterns of names of linear layers, with `*` for any characters.

/// Whether `pattern`, with `*` for any characters, matches the layer's name or what follows a dot in it.
pub(crate) fn matches(pattern: &str, module: &str) -> bool {
    let after_dots = module.match_indices('.').map(|(dot, _)| dot + 1);
    std::iter::once(0)
        .chain(after_dots)
        .filter_map(|start| module.get(start..))
        .any(|name| is_like(pattern, name))
}

/// Whether `pattern` matches all of `name`.
fn is_like(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(last) = parts.next_back() else {
        return name == pattern;
    };
    let Some(mut rest) = name
        .strip_prefix(first)
        .and_then(|rest| rest.strip_suffix(last))
    else {
        return false;
    };
    // The earliest place of each part leaves the most room for the others.
    for part in parts {
        match rest.find(part) {
            Some(start) => rest = rest.get(start + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        let module = "model.layers.1.mlp.down_proj";
        for pattern in [
            "model.layers.1.mlp.down_proj",
            "down_proj",
            "*.down_proj",
            "layers.1.*",
            "*",
            "layers.*.mlp.*",
            "*down*",
            "*.1.*_proj",
            "mlp.*n_*j",
            "layers.1.mlp.down_proj*",
        ] {
            assert!(matches(pattern, module), "{pattern}");
        }
        for pattern in [
            "",
            "down",
            "down_pro",
            "own_proj",
            "layers.1",
            "layers.10.*",
            "1.*.up_proj",
            "*.self_attn.*",
            "model.*.model",
            "down_proj*down_proj",
        ] {
            assert!(!matches(pattern, module), "{pattern}");
        }
        assert!(!matches("layers.1.*", "model.layers.11.mlp.down_proj"));
    }
}
