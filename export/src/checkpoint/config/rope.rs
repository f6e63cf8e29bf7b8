//! Rotary position embeddings.

use crate::checkpoint::fields::Fields;
use crate::error::Result;
use crate::json::kind;

pub(super) fn rope_theta(fields: &Fields<'_>) -> Result<f64> {
    let outer = match fields.get("rope_theta") {
        Some(_) => Some(fields.positive("rope_theta")?),
        None => None,
    };
    let mut theta = outer;
    for name in ["rope_parameters", "rope_scaling"] {
        let Some(value) = fields.get(name) else {
            continue;
        };
        let map = value
            .as_object()
            .ok_or_else(|| fields.error(name, format!("must be an object, not {}", kind(value))))?;
        let rope = Fields {
            path: fields.path,
            prefix: name,
            map,
        };
        check_rope_kind(&rope)?;
        if rope.get("rope_theta").is_some() {
            let inner = rope.positive("rope_theta")?;
            if theta.is_some_and(|theta| theta != inner) {
                return Err(rope.error(
                    "rope_theta",
                    format!(
                        "is {inner}, but another rope_theta in the file is {}",
                        theta.unwrap_or(inner)
                    ),
                ));
            }
            theta = Some(inner);
        }
    }
    theta.ok_or_else(|| {
        fields.error(
            "rope_theta",
            "is missing, here and in `rope_parameters`; the model needs it",
        )
    })
}

fn check_rope_kind(rope: &Fields<'_>) -> Result<()> {
    let name = rope.prefix;
    let kind = match rope.text("rope_type")? {
        Some(kind) => Some(kind),
        None => rope.text("type")?,
    };
    if let Some(kind) = kind.filter(|&kind| kind != "default") {
        return Err(rope.unsupported(
            format!("{name} of kind `{kind}`"),
            "only plain rotary embeddings (`default`, or null) are".to_owned(),
        ));
    }
    // Some models have a set of parameters for each kind of layer.
    if let Some((key, _)) = rope.map.iter().find(|(_, value)| value.is_object()) {
        return Err(rope.unsupported(
            format!("{name} with its own parameters for `{key}`"),
            "only one set for all layers is".to_owned(),
        ));
    }
    if rope.get("partial_rotary_factor").is_some() && rope.positive("partial_rotary_factor")? != 1.0
    {
        return Err(rope.unsupported(
            format!("{name} with a partial_rotary_factor"),
            "only rotating whole heads is".to_owned(),
        ));
    }
    Ok(())
}
