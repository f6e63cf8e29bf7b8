//! Which model a request means.

use std::{collections::HashMap, sync::Arc};

use super::served::{Model, ModelOptions};
use crate::{error::ServeError, http::Problem};

/// The models of a server, in the order given. The first is meant where a request names none.
pub(crate) struct Models {
    all: Vec<Arc<Model>>,
    by_name: HashMap<String, usize>,
}

impl Models {
    /// # Errors
    /// [`ServeError::Option`] when there is none, or a name stands for two.
    pub(crate) fn new(models: Vec<ModelOptions>) -> Result<Self, ServeError> {
        let mut by_name = HashMap::new();
        for (index, model) in models.iter().enumerate() {
            for name in std::iter::once(&model.name).chain(&model.aliases) {
                let bad = |problem| ServeError::Option {
                    option: "model",
                    problem,
                };
                if name.is_empty() || name.chars().any(char::is_control) {
                    return Err(bad("a name is empty or has control characters".into()));
                }
                if by_name.insert(name.clone(), index).is_some() {
                    return Err(bad(format!(
                        "two models are named `{name}`: give each its own name, as in NAME=DIR"
                    )));
                }
            }
        }
        if models.is_empty() {
            return Err(ServeError::Option {
                option: "model",
                problem: "there is none: name the directory of a bundle".into(),
            });
        }
        let all = models.into_iter().map(Model::new).map(Arc::new).collect();
        Ok(Self { all, by_name })
    }

    pub(crate) fn all(&self) -> &[Arc<Model>] {
        &self.all
    }

    /// The model of a name, the first one for none.
    ///
    /// # Errors
    /// For a name that is not known; the message has those that are.
    pub(crate) fn get(&self, name: Option<&str>) -> Result<&Arc<Model>, Problem> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(&self.all[0]);
        };
        let index = self.by_name.get(name).copied();
        index.map(|index| &self.all[index]).ok_or_else(|| {
            let names: Vec<&str> = self.all.iter().map(|model| model.name()).collect();
            Problem::not_found(format!(
                "there is no model {name:?} here; there is {}",
                names.join(", ")
            ))
        })
    }

    pub(crate) fn any_lost(&self) -> bool {
        self.all.iter().any(|model| model.is_lost())
    }

    pub(crate) fn all_ready(&self) -> bool {
        self.all.iter().all(|model| model.is_ready())
    }
}
