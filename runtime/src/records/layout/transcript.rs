//! Conversations that are one text: "\n\nHuman: …\n\nAssistant: …", as in HH-RLHF.

use super::message::message;
use crate::json::Json;

const HUMAN: &str = "Human:";
const ASSISTANT: &str = "Assistant:";

/// Whether a text begins as a transcript does.
pub(super) fn is_meant(text: &str) -> bool {
    text.strip_prefix("\n\n").unwrap_or(text).starts_with(HUMAN)
}

/// The messages of a transcript, or where it leaves the pattern: turns of a human and of an assistant, one after the other,
/// each behind an empty line and with a space or a line end behind its colon. The first is the human's, the last the
/// assistant's.
pub(super) fn messages(text: &str) -> Result<Vec<Json>, String> {
    if !is_meant(text) {
        return Err("it does not begin with \"\\n\\nHuman:\"".to_owned());
    }
    let mut rest = text.strip_prefix("\n\n").unwrap_or(text);
    let mut messages = Vec::new();
    loop {
        let turn = messages.len() + 1;
        let (speaker, role) = match turn % 2 {
            1 => (HUMAN, "user"),
            _ => (ASSISTANT, "assistant"),
        };
        let Some(said) = rest.strip_prefix(speaker) else {
            return Err(format!("turn {turn} is not behind \"{speaker}\""));
        };
        let end = next_turn(said);
        let content = &said[..end.unwrap_or(said.len())];
        let content = match content.strip_prefix(' ') {
            Some(content) => content,
            None if content.is_empty() || content.starts_with('\n') => content,
            None => {
                return Err(format!(
                    "no space is behind the \"{speaker}\" of turn {turn}"
                ));
            }
        };
        messages.push(message(role, content.into()));
        match end {
            Some(end) => rest = &said[end + 2..],
            None if role == "assistant" => return Ok(messages),
            None => return Err(format!("turn {turn} is the last, and not the assistant's")),
        }
    }
}

/// Where the empty line before the next turn begins.
fn next_turn(text: &str) -> Option<usize> {
    let next = ["\n\nHuman:", "\n\nAssistant:"].map(|turn| text.find(turn));
    next.into_iter().flatten().min()
}
