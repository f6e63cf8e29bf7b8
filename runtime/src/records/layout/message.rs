//! Messages that are made of texts.

use std::sync::Arc;

use crate::json::{Json, Object};

pub(super) fn message(role: &str, content: Arc<str>) -> Json {
    let mut fields = Object::new();
    fields.insert("role", role);
    fields.insert("content", content);
    fields.into()
}
