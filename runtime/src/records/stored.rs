//! What was read as a record, kept as a line of JSON of its own, whatever the input is.

use super::{
    body::{Body, Candidate, Group, RawConversation, Split},
    error::{RecordError, RecordErrorKind},
    record::Record,
};
use crate::{
    error::ErrorKind,
    json::{Json, Object},
};

/// A text that [`store`] has not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no record as it was kept")]
pub struct NotStored;

type Read = Result<(usize, Record), RecordError>;

const CHOSEN: &str = "chosen";
const REJECTED: &str = "rejected";

/// What was read as one record, as one line of JSON, from which [`restore`] makes the same again: its line, its `id` and
/// what is scored, or its error with all that it says. Its other fields and its [`Split`] are left out.
///
/// Messages that all its conversations begin with are there once.
///
/// ```
/// # use worldpm_ort_runtime as worldpm_ort;
/// use worldpm_ort::records::{Record, restore, store};
///
/// let record = Record::from_slice(br#"{"id": 7, "prompt": "Why?", "response": "So.", "more": 1}"#)?;
/// let line = store(&Ok((3, record.clone())));
/// let (number, again) = restore(&line)?.unwrap();
/// assert_eq!((number, again.id, again.body), (3, record.id, record.body));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn store(read: &Read) -> Vec<u8> {
    let mut fields = Object::new();
    match read {
        Ok((line, record)) => {
            fields.insert("line", *line);
            if let Some(id) = &record.id {
                fields.insert("id", id.clone());
            }
            store_body(&record.body, &mut fields);
        }
        Err(error) => {
            fields.insert("line", error.line);
            if let Some(id) = &error.id {
                fields.insert("id", id.clone());
            }
            fields.insert("error", error.to_string());
            fields.insert("kind", error.kind.kind().as_str());
            if error.is_fatal {
                fields.insert("fatal", true);
            }
        }
    }
    // Values of JSON are written without fail.
    serde_json::to_vec(&fields).unwrap_or_default()
}

fn store_body(body: &Body, fields: &mut Object) {
    let all: Vec<&RawConversation> = match body {
        Body::Single(one) => vec![one],
        Body::Pair { chosen, rejected } => vec![chosen, rejected],
        Body::Candidates(all) => all.iter().map(|one| &one.conversation).collect(),
    };
    let shared = shared_messages(&all);
    if shared > 0 {
        fields.insert("prompt", all[0].messages[..shared].to_vec());
    }
    let tools = all.first().and_then(|one| one.tools.as_ref());
    if all.iter().any(|one| one.tools.as_ref() != tools) {
        let each = all
            .iter()
            .map(|one| one.tools.clone().map_or(Json::Null, Json::Array));
        fields.insert("tools_of_each", each.collect::<Vec<_>>());
    } else if let Some(tools) = tools {
        fields.insert("tools", tools.clone());
    }
    let rest = |one: &RawConversation| Json::Array(one.messages[shared..].to_vec());
    match body {
        Body::Single(one) => {
            fields.insert("answer", rest(one));
        }
        Body::Pair { chosen, rejected } => {
            fields.insert(CHOSEN, rest(chosen));
            fields.insert(REJECTED, rest(rejected));
        }
        Body::Candidates(all) => {
            let answers = all.iter().map(|one| rest(&one.conversation));
            fields.insert("answers", answers.collect::<Vec<_>>());
            let group = |one: &Candidate| match one.group {
                None => Json::Null,
                Some(Group::Chosen) => CHOSEN.into(),
                Some(Group::Rejected) => REJECTED.into(),
            };
            fields.insert("groups", all.iter().map(group).collect::<Vec<_>>());
        }
    }
}

/// How many messages all conversations begin with, when there are several.
fn shared_messages(all: &[&RawConversation]) -> usize {
    let [first, others @ ..] = all else {
        return 0;
    };
    let alike = |other: &&RawConversation| {
        let pairs = first.messages.iter().zip(&other.messages);
        pairs.take_while(|(one, other)| one == other).count()
    };
    others.iter().map(alike).min().unwrap_or(0)
}

/// What [`store`] has kept. An error says what it said before; of a record nothing is there but what was kept.
///
/// # Errors
/// [`NotStored`]
pub fn restore(line: &[u8]) -> Result<Read, NotStored> {
    let text = std::str::from_utf8(line).map_err(|_| NotStored)?;
    let Ok(Json::Object(mut fields)) = Json::parse(text) else {
        return Err(NotStored);
    };
    let line = match fields.remove("line") {
        Some(Json::Number(number)) => number.as_i128(),
        _ => None,
    };
    let line = line
        .and_then(|line| usize::try_from(line).ok())
        .ok_or(NotStored)?;
    let id = fields.remove("id");
    if let Some(error) = fields.remove("error") {
        let text = error.as_str().ok_or(NotStored)?.to_owned();
        let kind = fields.get("kind").and_then(Json::as_str);
        let kind = kind.and_then(ErrorKind::of_name).ok_or(NotStored)?;
        let mut error = RecordError::in_line(line, id, RecordErrorKind::Told { text, kind });
        error.is_fatal = fields.get("fatal").is_some();
        return Ok(Err(error));
    }
    let record = Record {
        id,
        fields: None,
        body: restore_body(fields)?,
        split: Split::default(),
        unused: Vec::new(),
    };
    Ok(Ok((line, record)))
}

fn restore_body(mut fields: Object) -> Result<Body, NotStored> {
    let prompt = match fields.remove("prompt") {
        Some(prompt) => list(prompt)?,
        None => Vec::new(),
    };
    let tools = fields.remove("tools").map(list).transpose()?;
    let mut tools_of_each = match fields.remove("tools_of_each") {
        Some(each) => Some(list(each)?.into_iter()),
        None => None,
    };
    let mut conversation = |rest: Json| {
        let mut messages = prompt.clone();
        messages.extend(list(rest)?);
        let tools = match &mut tools_of_each {
            None => tools.clone(),
            Some(each) => match each.next().ok_or(NotStored)? {
                Json::Null => None,
                tools => Some(list(tools)?),
            },
        };
        Ok(RawConversation { messages, tools })
    };
    if let Some(answer) = fields.remove("answer") {
        return Ok(Body::Single(conversation(answer)?));
    }
    if let Some(answers) = fields.remove("answers") {
        let groups = list(fields.remove("groups").ok_or(NotStored)?)?;
        let all = list(answers)?.into_iter().zip(groups);
        let all = all.map(|(answer, group)| {
            Ok(Candidate {
                group: match group.as_str() {
                    None => None,
                    Some(CHOSEN) => Some(Group::Chosen),
                    Some(REJECTED) => Some(Group::Rejected),
                    Some(_) => return Err(NotStored),
                },
                conversation: conversation(answer)?,
            })
        });
        return Ok(Body::Candidates(all.collect::<Result<_, _>>()?));
    }
    Ok(Body::Pair {
        chosen: conversation(fields.remove(CHOSEN).ok_or(NotStored)?)?,
        rejected: conversation(fields.remove(REJECTED).ok_or(NotStored)?)?,
    })
}

fn list(value: Json) -> Result<Vec<Json>, NotStored> {
    match value {
        Json::Array(items) => Ok(items),
        _ => Err(NotStored),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::records::RecordReader;

    #[test]
    fn what_is_kept_comes_back() {
        let user = json!({"role": "user", "content": "Why?"});
        let answer = |text: &str| json!({"role": "assistant", "content": text, "x": [1.50, null]});
        let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
        for record in [
            json!({"id": "a", "prompt": "Why?", "response": "So.", "more": 1}).to_string(),
            json!([user, answer("a")]).to_string(),
            json!({"id": 1.50, "messages": [user, answer("a")], "tools": [{"name": "t"}]})
                .to_string(),
            json!({"chosen": [user, answer("a")], "rejected": [user, answer("b")]}).to_string(),
            json!({"chosen": [user, answer("a")], "rejected": [user, user, answer("b")]})
                .to_string(),
            json!({"prompt": "Why?", "responses": ["a", "b", "a"]}).to_string(),
            json!({"prompt": "Why?", "chosen": ["a"], "rejected": ["b", "c"]}).to_string(),
            json!({"messages": []}).to_string(),
            format!(r#"{{"id":1e5,"messages":[{{"role":"user","content":"a","x":{deep}}}]}}"#),
        ] {
            let record = Record::from_slice(record.as_bytes()).unwrap();
            let line = store(&Ok((7, record.clone())));
            assert!(!line.contains(&b'\n'));
            let (number, again) = restore(&line).unwrap().unwrap();
            let texts = |id: &Option<Json>| id.as_ref().map(Json::to_string);
            assert_eq!((number, texts(&again.id)), (7, texts(&record.id)));
            assert_eq!(again.body, record.body);
        }
    }

    #[test]
    fn tools_of_their_own_stay() {
        let one = |tools: Option<Vec<Json>>| RawConversation {
            messages: vec!["a".into()],
            tools,
        };
        let mut record = Record::from_value(json!({"prompt": "a", "response": "b"})).unwrap();
        record.body = Body::Pair {
            chosen: one(Some(vec![1.into()])),
            rejected: one(None),
        };
        let (_, again) = restore(&store(&Ok((1, record.clone())))).unwrap().unwrap();
        assert_eq!(again.body, record.body);
    }

    #[test]
    fn errors_say_what_they_said() {
        let input = "{\"id\": 5, \"prompt\": 1}\n[1,\n\n{\"a\":\n";
        let list = "[{\"id\": 5, \"prompt\": 1},\n{\"a\": 1";
        let long = "{\"prompt\": \"a long one, longer than the limit that is set here\", \"response\": \"b\"}";
        let mut seen = 0;
        for input in [input, list, long] {
            for read in RecordReader::new(input.as_bytes()).with_max_record_bytes(40) {
                let error = read.unwrap_err();
                let said = error.to_string();
                let again = restore(&store(&Err(error))).unwrap().unwrap_err();
                assert_eq!(again.to_string(), said);
                seen += 1;
                let twice = restore(&store(&Err(again))).unwrap().unwrap_err();
                assert_eq!(twice.to_string(), said);
            }
        }
        assert!(seen > 4, "{seen}");
        let row = RecordError::in_row(3, Some(1.into()), RecordErrorKind::TooLong { limit: 9 });
        let row = row.fatal();
        let (said, line) = (row.to_string(), store(&Err(row)));
        let again = restore(&line).unwrap().unwrap_err();
        assert_eq!(
            (again.to_string(), again.line, again.id),
            (said, 3, Some(1.into()))
        );
        assert!(again.is_fatal && again.kind.kind() == ErrorKind::TooLong);
    }

    #[test]
    fn what_is_no_kept_record_is_refused() {
        for line in [
            &b"\xff"[..],
            b"[]",
            b"{}",
            b"{\"line\":1}",
            b"{\"line\":-1,\"answer\":[]}",
            b"{\"line\":1,\"answer\":1}",
            b"{\"line\":1,\"answers\":[[]],\"groups\":[\"x\"]}",
            b"{\"line\":1,\"error\":\"x\",\"kind\":\"y\"}",
        ] {
            assert_eq!(restore(line).map(drop), Err(NotStored));
        }
    }
}
