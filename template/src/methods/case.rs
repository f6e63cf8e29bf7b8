//! Upper, lower and title case.

use crate::unicode::{is_cased, title_case};

pub(crate) fn upper(text: &str) -> String {
    text.to_uppercase()
}

pub(crate) fn lower(text: &str) -> String {
    text.to_lowercase()
}

/// `str.capitalize`: the first character in title case, the others in lower case.
pub(crate) fn capitalize(text: &str) -> String {
    let lowered = lower_after_first(text);
    match text.chars().next() {
        Some(first) => title_case(first) + &lowered,
        None => String::new(),
    }
}

/// The text after its first character in lower case; what a final sigma is depends on all of the text.
fn lower_after_first(text: &str) -> String {
    let Some(first) = text.chars().next() else {
        return String::new();
    };
    let lowered = text.to_lowercase();
    let skipped: usize = first.to_lowercase().map(char::len_utf8).sum();
    lowered.get(skipped..).unwrap_or("").to_owned()
}

/// `str.title`: a letter after anything without case starts a word.
pub(crate) fn title(text: &str) -> String {
    let lowered = text.to_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut rest = lowered.as_str();
    let mut in_word = false;
    for c in text.chars() {
        let width: usize = if c == 'Σ' {
            2
        } else {
            c.to_lowercase().map(char::len_utf8).sum()
        };
        let (low, tail) = rest.split_at_checked(width).unwrap_or((rest, ""));
        rest = tail;
        if in_word {
            out.push_str(low);
        } else {
            out.push_str(&title_case(c));
        }
        in_word = is_cased(c);
    }
    out
}

pub(super) fn swap(text: &str) -> String {
    let lowered = text.to_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut rest = lowered.as_str();
    for c in text.chars() {
        let width = c.to_lowercase().map(char::len_utf8).sum();
        let (low, tail) = rest.split_at_checked(width).unwrap_or((rest, ""));
        rest = tail;
        if c.is_uppercase() {
            out.push_str(low);
        } else if c.is_lowercase() {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
    }
    out
}
