//! Names of columns that a user gives in place of the usual ones.

use std::borrow::Cow;

use super::column::Column;

/// Which columns of a data set hold what, where that is not to be found from their names. Default: nothing is named.
///
/// ```
/// # use worldpm_ort_runtime as worldpm_ort;
/// use worldpm_ort::records::{Body, ColumnNames, RowReader};
///
/// let mut names = ColumnNames::default();
/// names.prompt = Some("question".into());
/// names.response = Some("answer".into());
/// let mut rows = RowReader::new(&names)?;
/// let row = serde_json::json!({"question": "Tips?", "answer": "Sleep.", "prompt": "unused"});
/// let record = rows.read(row).unwrap();
/// assert!(matches!(record.body, Body::Single(_)));
/// assert_eq!(rows.layout().unwrap().to_string(), "columns as named: question, answer are strings");
/// # Ok::<(), worldpm_ort::records::ColumnNamesError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ColumnNames {
    /// A string or messages, before an answer.
    pub prompt: Option<String>,
    /// The answer to the prompt, or a list of answers.
    pub response: Option<String>,
    /// A whole conversation.
    pub messages: Option<String>,
    /// The preferred answer or conversation.
    pub chosen: Option<String>,
    /// The other one.
    pub rejected: Option<String>,
    /// The system prompt.
    pub system: Option<String>,
    /// Columns that have no meaning, whatever they are called.
    pub ignored: Vec<String>,
}

/// Names of columns that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnNamesError {
    /// Two columns that belong to different layouts.
    #[error(
        "the {one} column and the {other} column belong to different layouts: name one of them"
    )]
    Apart {
        /// One of them.
        one: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// A column is named for two things.
    #[error("the column `{name}` is named for two things: give each its own")]
    Twice {
        /// The column.
        name: String,
    },
}

/// Which column a name stands for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    named: Vec<(Column, String)>,
    ignored: Vec<String>,
    /// The usual names that stay known beside those that are named; `None` for all of them.
    known: Option<&'static [Column]>,
}

impl ColumnNames {
    fn given(&self) -> impl Iterator<Item = (Column, &String)> {
        let all = [
            (Column::Messages, &self.messages),
            (Column::Prompt, &self.prompt),
            (Column::Response, &self.response),
            (Column::Chosen, &self.chosen),
            (Column::Rejected, &self.rejected),
            (Column::System, &self.system),
        ];
        all.into_iter()
            .filter_map(|(column, name)| Some((column, name.as_ref()?)))
    }
}

impl Columns {
    pub(super) fn new(names: &ColumnNames) -> Result<Self, ColumnNamesError> {
        let named: Vec<_> = names
            .given()
            .map(|(column, name)| (column, name.clone()))
            .collect();
        let has = |column| named.iter().any(|(known, _)| *known == column);
        let apart = |one: Column, others: &[Column]| {
            let other = others.iter().find(|other| has(one) && has(**other));
            other.map_or(Ok(()), |other| {
                Err(ColumnNamesError::Apart {
                    one: one.usual_name(),
                    other: other.usual_name(),
                })
            })
        };
        apart(
            Column::Messages,
            &[
                Column::Prompt,
                Column::Response,
                Column::Chosen,
                Column::Rejected,
            ],
        )?;
        apart(Column::Response, &[Column::Chosen, Column::Rejected])?;
        for (index, (_, name)) in named.iter().enumerate() {
            let others = named[..index].iter().map(|(_, other)| other);
            if others.chain(&names.ignored).any(|other| other == name) {
                return Err(ColumnNamesError::Twice { name: name.clone() });
            }
        }
        let known: Option<&[_]> = if has(Column::Messages) {
            Some(&[Column::Messages])
        } else if has(Column::Response) {
            Some(&[Column::Prompt, Column::Response])
        } else if has(Column::Chosen) || has(Column::Rejected) {
            Some(&[Column::Prompt, Column::Chosen, Column::Rejected])
        } else if has(Column::Prompt) {
            Some(&[
                Column::Prompt,
                Column::Response,
                Column::Chosen,
                Column::Rejected,
                Column::Responses,
                Column::Completion,
            ])
        } else {
            None
        };
        Ok(Self {
            named,
            ignored: names.ignored.clone(),
            known,
        })
    }

    /// What the column of this name is; `None` where it has no meaning.
    pub(crate) fn of(&self, name: &str) -> Option<Column> {
        if self.named.is_empty() && self.ignored.is_empty() {
            return Column::of(name);
        }
        if self.ignored.iter().any(|ignored| ignored == name) {
            return None;
        }
        if let Some((column, _)) = self.named.iter().find(|(_, named)| named == name) {
            return Some(*column);
        }
        let column = Column::of(name)?;
        match self.named.iter().any(|(named, _)| *named == column) {
            // Two system prompts are compared, and none of them is passed over.
            true if column == Column::System => Some(Column::SystemPrompt),
            true => None,
            false => self.is_known(column).then_some(column),
        }
    }

    fn is_known(&self, column: Column) -> bool {
        let says_what = !column.is_aside() && !column.is_part();
        self.known
            .is_none_or(|known| !says_what || known.contains(&column))
    }

    /// What the data set calls a column.
    pub(crate) fn name(&self, column: Column) -> Cow<'static, str> {
        let named = self.named.iter().find(|(named, _)| *named == column);
        match named {
            Some((_, name)) => Cow::Owned(name.clone()),
            None => Cow::Borrowed(column.usual_name()),
        }
    }

    /// Whether a column that says what is scored is named.
    pub(super) fn are_named(&self) -> bool {
        self.known.is_some()
    }

    /// The columns that are read because they, or what goes with them, are named.
    pub(super) fn needed(&self) -> Option<&'static [Column]> {
        match self.known? {
            [Column::Prompt, answers @ ..] if answers.len() == 2 => Some(answers),
            // The prompt alone says nothing of what answers it.
            [Column::Prompt, _, _, ..] => None,
            needed => Some(needed),
        }
    }
}
