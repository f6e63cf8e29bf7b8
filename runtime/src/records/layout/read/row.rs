//! A row whose columns are taken one by one.

use std::{borrow::Cow, sync::Arc};

use super::super::{column::Column, names::Columns, turns};
use crate::{
    json::Json,
    records::{
        error::RecordErrorKind,
        fields::{Content, Fields},
    },
};

pub(super) type Result<T> = std::result::Result<T, RecordErrorKind>;
pub(super) type Name = Cow<'static, str>;

/// A row that is being read.
pub(super) struct Row<'a> {
    pub(super) fields: &'a mut Fields,
    pub(super) columns: &'a Columns,
    pub(super) system: Option<Arc<str>>,
    pub(super) tools: Option<Vec<Json>>,
}

impl<'a> Row<'a> {
    pub(super) fn new(fields: &'a mut Fields, columns: &'a Columns) -> Result<Self> {
        let mut row = Self {
            fields,
            columns,
            system: None,
            tools: None,
        };
        row.system = row.system()?;
        row.tools = match row.fields.take(Column::Tools) {
            None => None,
            Some(Json::Array(tools)) => Some(tools),
            Some(other) => return Err(RecordErrorKind::wrong_type("tools", "a list", &other)),
        };
        Ok(row)
    }

    /// Takes the system prompt, which has two names.
    fn system(&mut self) -> Result<Option<Arc<str>>> {
        let mut found: Option<(Name, Arc<str>)> = None;
        for column in [Column::System, Column::SystemPrompt] {
            let name = self.columns.name(column);
            let text = match self.fields.take(column) {
                None => continue,
                Some(Json::String(text)) => text,
                Some(other) => return Err(RecordErrorKind::wrong_type(name, "a string", &other)),
            };
            match found {
                Some((one, first)) if first != text => {
                    return Err(RecordErrorKind::SystemDiffers {
                        one,
                        other: format!("`{name}`"),
                    });
                }
                Some(_) => {}
                None => found = Some((name, text)),
            }
        }
        Ok(found.map(|(_, text)| text))
    }

    pub(super) fn take(&mut self, column: Column) -> Json {
        self.fields.take(column).unwrap_or_default()
    }

    /// Takes a column that is a string or a list of messages.
    pub(super) fn content(&mut self, column: Column) -> Result<Content> {
        match self.take(column) {
            Json::String(text) => Ok(Content::Text(text)),
            Json::Array(messages) => Ok(Content::Messages(messages)),
            other => Err(self.wrong(column, "a string or a list of messages", &other)),
        }
    }

    /// Takes the prompt, where there is one.
    pub(super) fn prompt(&mut self) -> Result<Option<Content>> {
        match self.fields.has(Column::Prompt) {
            true => self.content(Column::Prompt).map(Some),
            false => Ok(None),
        }
    }

    /// Takes a prompt of HelpSteer2.
    pub(super) fn turns(&mut self) -> Result<Content> {
        let prompt = self.content(Column::Prompt)?;
        let Content::Text(text) = &prompt else {
            return Ok(prompt);
        };
        match turns::messages(text) {
            Ok(None) => Ok(prompt),
            Ok(Some(messages)) => Ok(Content::Messages(messages)),
            Err(expected) => Err(RecordErrorKind::WrongType {
                field: self.columns.name(Column::Prompt),
                expected,
                found: "others",
            }),
        }
    }

    /// Takes a list.
    pub(super) fn list(&mut self, column: Column, expected: &'static str) -> Result<Vec<Json>> {
        match self.take(column) {
            Json::Array(list) => Ok(list),
            other => Err(self.wrong(column, expected, &other)),
        }
    }

    pub(super) fn wrong(
        &self,
        column: Column,
        expected: &'static str,
        found: &Json,
    ) -> RecordErrorKind {
        RecordErrorKind::wrong_type(self.columns.name(column), expected, found)
    }
}
