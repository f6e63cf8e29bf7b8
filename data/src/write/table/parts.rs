//! Rows that are parts of tables: written as parts of them, or picked out of them where they are few.

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::{TableRows, file::refused};
use crate::{
    error::DataError,
    row::{Columns, Kept},
    table::pick::pick,
    write::held::Held,
};

/// Rows of a table are few where they are less than one of so many.
const SPARSE: usize = 4;

impl TableRows {
    /// Makes tables of their own of the rows that were held last, where they are few of theirs and `next` is of another one.
    pub(super) fn let_go(&mut self, next: &Held) -> Result<(), DataError> {
        match self.held.last() {
            Some(last) if self.is_sparse && !follows(last, next, false) => {}
            _ => return Ok(()),
        }
        let rows = &mut self.held[self.alone..];
        self.alone += rows.len();
        let all = match rows.first().map(|row| &row.columns.0) {
            Some(Kept::Batch { batch, .. }) => batch.num_rows(),
            _ => return Ok(()),
        };
        if rows.len() >= all / SPARSE {
            return Ok(());
        }
        let picked =
            pick(rows.iter().filter_map(part)).map_err(|error| refused(self.format, &error))?;
        let Some(picked) = picked.map(Arc::new) else {
            return Ok(());
        };
        for (at, row) in rows.iter_mut().enumerate() {
            let batch = Arc::clone(&picked);
            row.columns = Columns(Kept::Batch { batch, row: at });
        }
        Ok(())
    }

    /// Rows of tables: their parts, as they are.
    pub(super) fn put_parts(&mut self, rows: &[Held]) -> Result<(), DataError> {
        let is_end = |at: &usize| !follows(&rows[at - 1], &rows[*at], true);
        if self.is_sparse && (1..rows.len()).any(|at| is_end(&at)) {
            let picked =
                pick(rows.iter().filter_map(part)).map_err(|error| refused(self.format, &error))?;
            return picked.map_or(Ok(()), |picked| self.put(&picked, rows));
        }
        let mut start = 0;
        while start < rows.len() {
            let end = (start + 1..rows.len()).find(is_end).unwrap_or(rows.len());
            if let Kept::Batch { batch, row } = &rows[start].columns.0 {
                let part = batch.slice(*row, end - start);
                self.put(&part, &rows[start..end])?;
            }
            start = end;
        }
        Ok(())
    }
}

/// The table that a row is a part of, and its place there.
fn part(row: &Held) -> Option<(&Arc<RecordBatch>, usize)> {
    match &row.columns.0 {
        Kept::Batch { batch, row } => Some((batch, *row)),
        _ => None,
    }
}

/// Whether a row is of the same table as another, and `next` to it where that is asked.
fn follows(one: &Held, other: &Held, next: bool) -> bool {
    match (part(one), part(other)) {
        (Some((batch, row)), Some((same, at))) => {
            Arc::ptr_eq(batch, same) && (!next || at == row + 1)
        }
        _ => false,
    }
}
