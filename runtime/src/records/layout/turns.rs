//! Prompts of HelpSteer2, which hold several turns: "…\n<extra_id_1>Assistant\n…\n<extra_id_1>User\n…".

use std::sync::Arc;

use super::message::message;
use crate::json::Json;

const MARK: &str = "<extra_id_1>";

/// The messages of a prompt, `None` where it is one turn, or what is wrong with it.
pub(super) fn messages(prompt: &Arc<str>) -> Result<Option<Vec<Json>>, &'static str> {
    if !prompt.contains(MARK) {
        return Ok(None);
    }
    let mut messages = Vec::new();
    let mut rest = &**prompt;
    let mut role = "user";
    while let Some((turn, after)) = rest.split_once(MARK) {
        let Some(turn) = turn.strip_suffix('\n') else {
            return Err("<extra_id_1> at the beginning of a line only");
        };
        messages.push(message(role, turn.into()));
        let (next, speaker) = match role {
            "user" => ("assistant", "Assistant\n"),
            _ => ("user", "User\n"),
        };
        role = next;
        rest = after
            .strip_prefix(speaker)
            .ok_or("turns of user and assistant that follow each other")?;
    }
    if role != "user" {
        return Err("a last turn of the user");
    }
    messages.push(message(role, rest.into()));
    Ok(Some(messages))
}
