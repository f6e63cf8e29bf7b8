//! What Python knows about characters.

#[rustfmt::skip]
mod tables;

fn within(table: &[(u32, u32)], c: char) -> bool {
    let code = u32::from(c);
    let after = table.partition_point(|(start, _)| *start <= code);
    let range = after.checked_sub(1).and_then(|at| table.get(at));
    range.is_some_and(|(_, end)| code <= *end)
}

/// `str.isspace` for one character: Unicode's white space, and the four ASCII separators that Python adds.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

pub(crate) fn is_alpha(c: char) -> bool {
    c.is_ascii_alphabetic() || (!c.is_ascii() && within(&tables::ALPHA, c))
}

/// The value of a decimal digit of any script.
pub(crate) fn decimal(c: char) -> Option<u32> {
    if c.is_ascii() {
        return c.to_digit(10);
    }
    if !within(&tables::DECIMAL, c) {
        return None;
    }
    // Digits stand in tens, and a range is one ten or several.
    let code = u32::from(c);
    let start = tables::DECIMAL
        .iter()
        .rev()
        .find(|(start, _)| *start <= code)?;
    Some((code - start.0) % 10)
}

pub(crate) fn is_digit(c: char) -> bool {
    decimal(c).is_some() || within(&tables::DIGIT, c)
}

pub(crate) fn is_numeric(c: char) -> bool {
    is_digit(c) || within(&tables::NUMERIC, c)
}

pub(crate) fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || is_numeric(c)
}

pub(crate) fn is_printable(c: char) -> bool {
    (' '..='~').contains(&c) || (!c.is_ascii() && within(&tables::PRINTABLE, c))
}

fn is_title_letter(c: char) -> bool {
    matches!(u32::from(c), 0x1c5 | 0x1c8 | 0x1cb | 0x1f2 | 0x1f88..=0x1f8f | 0x1f98..=0x1f9f | 0x1fa8..=0x1faf
        | 0x1fbc | 0x1fcc | 0x1ffc)
}

/// Whether a character has case, so that a letter after it does not start a word.
pub(crate) fn is_cased(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase() || is_title_letter(c)
}

/// The character in title case.
pub(crate) fn title_case(c: char) -> String {
    if let Ok(at) = tables::TITLE.binary_search_by_key(&c, |(c, _)| *c)
        && let Some((_, title)) = tables::TITLE.get(at)
    {
        return (*title).to_owned();
    }
    let mut upper = c.to_uppercase();
    let mut out: String = upper.next().into_iter().collect();
    out.extend(upper.flat_map(char::to_lowercase));
    out
}

/// `str.casefold`.
pub(crate) fn case_fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match tables::FOLD.binary_search_by_key(&c, |(c, _)| *c) {
            Ok(at) => out.push_str(tables::FOLD.get(at).map_or("", |(_, fold)| fold)),
            Err(_) => out.extend(c.to_lowercase()),
        }
    }
    out
}

/// `str.islower`.
pub(crate) fn is_lower(text: &str) -> bool {
    text.chars().any(char::is_lowercase)
        && !text.chars().any(|c| c.is_uppercase() || is_title_letter(c))
}

/// `str.isupper`.
pub(crate) fn is_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase)
        && !text.chars().any(|c| c.is_lowercase() || is_title_letter(c))
}

/// `str.istitle`.
pub(crate) fn is_title(text: &str) -> bool {
    let (mut cased, mut in_word) = (false, false);
    for c in text.chars() {
        if c.is_uppercase() || is_title_letter(c) {
            if in_word {
                return false;
            }
            (cased, in_word) = (true, true);
        } else if c.is_lowercase() {
            if !in_word {
                return false;
            }
            cased = true;
        } else {
            in_word = false;
        }
    }
    cased
}
