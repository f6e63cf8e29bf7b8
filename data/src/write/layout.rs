//! Which columns there are, and what they are called.

use super::held::Held;
use crate::{
    added::{self, ERROR, Kind, Name, RowForm, Value},
    error::DataError,
    options::WriteOptions,
    row::Columns,
};

/// What added columns are called, and which of the input's are kept beside them.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    prefix: String,
    overwrite: bool,
    pub(super) only_id: bool,
    is_plain: bool,
    /// Added columns that there are whatever the first rows have.
    expected: Layout,
}

impl Naming {
    pub(super) fn of(options: &WriteOptions) -> Self {
        Self {
            prefix: options.added_prefix.clone(),
            overwrite: options.overwrite,
            only_id: options.only_scores,
            is_plain: options.plain,
            expected: Layout::default(),
        }
    }

    /// The added columns of a table with these first rows, whose names show this form.
    pub(super) fn layout(&self, rows: &[Held], with_errors: bool, form: RowForm) -> Layout {
        match self.is_plain {
            true => Layout(Vec::new()),
            false => self.expected.with(rows, with_errors, form),
        }
    }

    /// There are the columns of a row that may not be written.
    pub(super) fn expect(&mut self, values: &[(Name, Value)]) {
        self.expected.add(values);
    }

    /// The name that an added column has in the output.
    pub(super) fn added(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Refuses an added column whose name a column of the row has that is kept.
    pub(super) fn check(&self, columns: &Columns, name: &str) -> Result<(), DataError> {
        if self.overwrite {
            return Ok(());
        }
        let name = self.added(name);
        match self.keeps(&name) && columns.has(&name) {
            true => Err(DataError::ColumnTaken(name)),
            false => Ok(()),
        }
    }

    /// Whether a column of the input is kept, as far as its name alone says.
    pub(super) fn keeps(&self, name: &str) -> bool {
        !self.only_id || name == "id"
    }
}

/// The added columns of a table, which each of its rows has.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout(pub(super) Vec<(Name, Kind)>);

impl Layout {
    /// With those of the first rows. Of no row with an answer: the usual ones of rows of this form.
    fn with(&self, rows: &[Held], with_errors: bool, form: RowForm) -> Self {
        let mut all = self.clone();
        rows.iter().for_each(|row| all.add(&row.values));
        if all.0.is_empty() {
            all.0 = added::usual(form);
        }
        if with_errors {
            all.0.push((ERROR.into(), Kind::Text));
        }
        all
    }

    fn add(&mut self, values: &[(Name, Value)]) {
        for (name, value) in values {
            if name != ERROR && !self.0.iter().any(|(known, _)| known == name) {
                self.0.push((name.clone(), value.kind()));
            }
        }
    }

    /// An added value of a row for which there is no column.
    pub(super) fn lacks<'a>(&self, row: &'a Held) -> Option<&'a Name> {
        let mut names = row.values.iter().map(|(name, _)| name);
        names.find(|name| !self.0.iter().any(|(known, _)| known == *name))
    }
}
