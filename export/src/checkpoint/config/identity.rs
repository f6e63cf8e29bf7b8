//! Which model class a file is of. Three fields say so, and they have to agree.

use serde_json::Value;
use worldpm_ort_bundle::json::kind;

use crate::{
    arch::{Architecture, Backbone},
    checkpoint::fields::Fields,
    error::{Error, Result},
};

/// The model class.
///
/// `head_is_lent` says that the file is of the base model of an adapter that brings the reward head. Then a language
/// model or a decoder without a head stands for the class with one linear head, as it does for `transformers` when
/// `AutoModelForSequenceClassification` loads it.
///
/// # Errors
/// [`Error::UnsupportedArchitecture`] for another class, [`Error::UnsupportedConfig`] for code of the checkpoint's own;
/// [`Error::Config`] when the fields contradict each other.
pub(super) fn read(fields: &Fields<'_>, head_is_lent: bool) -> Result<Architecture> {
    let names = fields.required("architectures")?;
    let name = names
        .as_array()
        .and_then(|names| names.first())
        .and_then(Value::as_str)
        .ok_or_else(|| fields.error("architectures", "must be a list that starts with a name"))?;
    let base = base_model(name).filter(|_| head_is_lent);
    let architecture = Architecture::from_name(name)
        .or(base)
        .ok_or_else(|| unknown(fields, name))?;
    check_type(fields, name, architecture.backbone())?;
    check_code(fields, architecture)?;
    Ok(architecture)
}

/// The class with one linear head over the decoder of a model without a head, or with that of a language model.
fn base_model(name: &str) -> Option<Architecture> {
    Architecture::ALL.into_iter().find(|architecture| {
        let class = architecture.class();
        let family = class.name.strip_suffix("ForSequenceClassification");
        family
            .filter(|_| class.code.is_none())
            .is_some_and(|family| {
                name.strip_prefix(family)
                    .is_some_and(|rest| ["ForCausalLM", "Model"].contains(&rest))
            })
    })
}

fn unknown(fields: &Fields<'_>, name: &str) -> Error {
    let supported = format!(
        "supported are {}",
        Architecture::ALL.map(Architecture::as_str).join(", ")
    );
    Error::UnsupportedArchitecture {
        path: fields.path.to_owned(),
        name: name.to_owned(),
        hint: match base_model(name) {
            Some(_) => format!(
                "it has no reward head; {supported}; if an adapter brings the head, give the adapter too"
            ),
            None => supported,
        },
    }
}

/// `transformers` takes the class by `model_type`, and this crate by `architectures`.
fn check_type(fields: &Fields<'_>, name: &str, backbone: Backbone) -> Result<()> {
    match fields.text("model_type")? {
        Some(other) if other != backbone.as_str() => Err(fields.error(
            "model_type",
            format!(
                "is `{other}`, but `architectures` names {name}, which is of type `{}`; take the configuration that \
                 was saved with the weights",
                backbone.as_str()
            ),
        )),
        _ => Ok(()),
    }
}

/// Refuses code that takes the place of the class that is implemented here.
///
/// `transformers` runs code of a checkpoint only where it is trusted (`trust_remote_code`), and its own class
/// otherwise, without a word. Which of them its author means, the file does not say. Some classes exist as such code
/// alone; it is what they are implemented from.
fn check_code(fields: &Fields<'_>, architecture: Architecture) -> Result<()> {
    let Some(map) = fields.get("auto_map") else {
        return Ok(());
    };
    let map = map
        .as_object()
        .ok_or_else(|| fields.error("auto_map", format!("must be an object, not {}", kind(map))))?;
    let code = architecture.class().code;
    for (loader, value) in map {
        let class = value.as_str().and_then(|path| path.rsplit('.').next());
        let is_ours = match (loader.as_str(), class) {
            ("AutoConfig", Some(class)) => code.is_some_and(|configs| configs.contains(&class)),
            ("AutoModel" | "AutoModelForSequenceClassification", Some(class)) => {
                code.is_some() && class == architecture.as_str()
            }
            (
                "AutoConfig" | "AutoModel" | "AutoModelForSequenceClassification" | "AutoTokenizer",
                _,
            ) => false,
            // What else can be loaded is no reward model.
            _ => true,
        };
        if !is_ours {
            return Err(fields.unsupported(
                format!("code of the checkpoint's own (`auto_map.{loader}`: {value})"),
                format!(
                    "if it computes what {architecture} computes, remove the entry from the file"
                ),
            ));
        }
    }
    Ok(())
}
