//! Columns that say which of two answers is preferred.

use std::{borrow::Cow, cmp::Ordering};

use crate::{json::Json, records::error::RecordErrorKind};

/// The largest number that HelpSteer gives a preference.
const MOST: f64 = 3.0;

/// Of HelpSteer: below zero the first answer is preferred, above zero the second.
pub(super) fn by_number(
    field: Cow<'static, str>,
    value: &Json,
) -> Result<Ordering, RecordErrorKind> {
    let number = match value {
        Json::Number(number) => Some(number.as_f64()),
        _ => None,
    };
    let known = number.filter(|number| number.abs() <= MOST && number.fract() == 0.0);
    let order = known.and_then(|number| 0.0_f64.partial_cmp(&number));
    order.ok_or_else(|| unknown(field, "a whole number from -3 to 3", value))
}

/// Of JudgeBench: `A>B` or `B>A`.
pub(super) fn by_label(
    field: Cow<'static, str>,
    value: &Json,
) -> Result<Ordering, RecordErrorKind> {
    match value.as_str() {
        Some("A>B") => Ok(Ordering::Greater),
        Some("B>A") => Ok(Ordering::Less),
        _ => Err(unknown(field, "\"A>B\" or \"B>A\"", value)),
    }
}

fn unknown(field: Cow<'static, str>, expected: &'static str, value: &Json) -> RecordErrorKind {
    let found = match value {
        Json::Number(number) => number.to_string(),
        Json::String(text) if text.len() <= 20 => format!("{text:?}"),
        other => other.kind().to_owned(),
    };
    RecordErrorKind::NoPreference {
        field,
        expected,
        found,
    }
}
