//! Columns that are read as numbers, by names with dots for what is within.

use worldpm_ort_runtime::json::{Json, Object};

/// What a column says of a row, where a number is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Numeric {
    /// The row has no such column.
    Missing,
    /// Nothing: null, or an empty cell.
    Null,
    /// A finite number, as a 64-bit float.
    Number(f64),
    /// Something else, which is named: `a string`.
    Other(String),
}

/// Said of NaN and infinities.
pub(crate) const NOT_FINITE: &str = "NaN or infinite";

/// What a name with dots may stand for: a column, and a field within it, the longest column first.
pub(crate) fn splits(name: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let dots = name.rmatch_indices('.');
    let parts = dots.map(|(at, _)| (&name[..at], Some(&name[at + 1..])));
    std::iter::once((name, None)).chain(parts)
}

pub(crate) fn of_object(fields: &Object, name: &str) -> Numeric {
    for (column, within) in splits(name) {
        match (fields.get(column), within) {
            (None, _) => {}
            (Some(Json::Null), _) => return Numeric::Null,
            (Some(Json::Object(inner)), Some(within)) => return of_object(inner, within),
            (Some(_), Some(_)) => return Numeric::Missing,
            (Some(value), None) => return of_value(value),
        }
    }
    Numeric::Missing
}

pub(crate) fn of_value(value: &Json) -> Numeric {
    match value {
        Json::Null => Numeric::Null,
        Json::Number(number) => finite(number.as_f64()),
        other => Numeric::Other(other.kind().to_owned()),
    }
}

pub(crate) fn of_cell(cell: &str) -> Numeric {
    match cell.trim().parse() {
        _ if cell.is_empty() => Numeric::Null,
        Ok(number) => finite(number),
        Err(_) => Numeric::Other("text".to_owned()),
    }
}

pub(crate) fn finite(number: f64) -> Numeric {
    match number.is_finite() {
        true => Numeric::Number(number),
        false => Numeric::Other(NOT_FINITE.to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(row: &str, name: &str) -> Numeric {
        let Json::Object(fields) = Json::parse(row).unwrap() else {
            panic!("{row}");
        };
        of_object(&fields, name)
    }

    #[test]
    fn names_with_dots() {
        use Numeric::{Missing, Null, Number};
        for (row, name, expected) in [
            (r#"{"score": 1.5}"#, "score", Number(1.5)),
            (r#"{"score": null}"#, "score", Null),
            (r#"{"score": 1}"#, "margin", Missing),
            (
                r#"{"scores": {"a": 2}, "scores.a": 3}"#,
                "scores.a",
                Number(3.0),
            ),
            (r#"{"scores": {"a": 2}}"#, "scores.a", Number(2.0)),
            (r#"{"scores": {"a.b": 2}}"#, "scores.a.b", Number(2.0)),
            (r#"{"scores": {"a": 2}}"#, "scores.b", Missing),
            (r#"{"scores": [2]}"#, "scores.a", Missing),
            (r#"{"chosen": null}"#, "chosen.score", Null),
            (
                r#"{"score": [1]}"#,
                "score",
                Numeric::Other("a list".into()),
            ),
        ] {
            assert_eq!(of(row, name), expected, "{row} {name}");
        }
    }

    #[test]
    fn cells_are_text() {
        for (cell, expected) in [
            ("1.5", Numeric::Number(1.5)),
            (" -2 ", Numeric::Number(-2.0)),
            ("", Numeric::Null),
            ("nan", Numeric::Other(NOT_FINITE.into())),
            ("high", Numeric::Other("text".into())),
        ] {
            assert_eq!(of_cell(cell), expected, "{cell}");
        }
    }
}
