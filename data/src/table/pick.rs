//! Rows of tables, without what is around them.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave_record_batch;

/// A table of these rows of others, which have the same columns; `None` of no rows.
pub(crate) fn pick<'a>(
    rows: impl Iterator<Item = (&'a Arc<RecordBatch>, usize)>,
) -> Result<Option<RecordBatch>, ArrowError> {
    let mut tables: Vec<&RecordBatch> = Vec::new();
    let mut places = Vec::new();
    for (batch, row) in rows {
        if !tables
            .last()
            .is_some_and(|last| std::ptr::eq(*last, &**batch))
        {
            tables.push(batch);
        }
        places.push((tables.len() - 1, row));
    }
    match places.is_empty() {
        true => Ok(None),
        false => interleave_record_batch(&tables, &places).map(Some),
    }
}
