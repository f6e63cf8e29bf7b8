//! Records as a server takes them, and its answers to them: a line for each.

use crate::{
    answers::{Answer, Outcome},
    json::{Json, Object},
    records::{Entry, Group},
    text::Conversation,
};

/// The answer to a record, or why it has none.
pub type Answered = Result<Answer, String>;

/// The line of a record of one conversation, of a pair, or of several candidates.
pub(super) fn line(conversations: &[Conversation]) -> String {
    let mut fields = Object::new();
    match conversations {
        [chosen, rejected] => {
            fields.insert("chosen", messages(chosen));
            fields.insert("rejected", messages(rejected));
        }
        [] => {}
        [one] => {
            fields.insert("messages", messages(one));
        }
        several => {
            let all = several.iter().map(|one| Json::from(messages(one)));
            fields.insert("responses", all.collect::<Vec<_>>());
        }
    }
    with_tools(fields, conversations)
}

/// The line of an entry, whose answer is then the same as if it were scored here.
pub(super) fn line_of(entry: &Entry, conversations: &[Conversation]) -> String {
    let Some(groups) = entry.groups() else {
        return line(conversations);
    };
    let mut fields = Object::new();
    let mut lists: Vec<(&str, Vec<Json>)> = Vec::new();
    for (group, conversation) in groups.iter().zip(conversations) {
        let name = match group {
            Some(Group::Chosen) => "chosen",
            Some(Group::Rejected) => "rejected",
            None => "responses",
        };
        let messages = Json::from(messages(conversation));
        match lists.last_mut() {
            Some((last, list)) if *last == name => list.push(messages),
            _ => lists.push((name, vec![messages])),
        }
    }
    for (name, list) in lists {
        fields.insert(name, list);
    }
    with_tools(fields, conversations)
}

fn with_tools(mut fields: Object, conversations: &[Conversation]) -> String {
    if let Some(tools) = conversations.first().and_then(|one| one.tools.as_ref()) {
        fields.insert("tools", tools.clone());
    }
    Json::from(fields).to_string()
}

fn messages(conversation: &Conversation) -> Vec<Json> {
    let messages = conversation.messages.iter();
    messages
        .map(|message| message.fields().clone().into())
        .collect()
}

/// The answers to `count` records, or what is wrong with the text.
pub(super) fn answers(text: &str, count: usize) -> Result<Vec<Answered>, String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let answers = lines.map(|line| match serde_json::from_str(line) {
        Ok(Outcome::Answer(answer)) => Ok(Ok(answer)),
        Ok(Outcome::Failure { error, .. }) => Ok(Err(error)),
        Err(_) => Err("a line of it is no answer to a record".to_owned()),
    });
    let answers: Vec<Answered> = answers.collect::<Result<_, _>>()?;
    match answers.len() {
        found if found == count => Ok(answers),
        found => Err(format!("{found} answers to {count} records")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{records::Record, text::Message};

    #[test]
    fn a_line_is_read_as_what_it_was_made_of() {
        let mut one = Conversation::exchange("q\n\u{2028}\"", "a");
        one.messages.push(Message::new("user", "1"));
        one.tools = Some(vec![Json::parse(r#"{"n": 1.0e5}"#).unwrap()]);
        let text = line(std::slice::from_ref(&one));
        assert!(!text.contains('\n'));
        let crate::records::Body::Single(read) = Record::from_slice(text.as_bytes()).unwrap().body
        else {
            panic!("{text}");
        };
        assert_eq!(read.into_conversation().unwrap(), one);

        let (chosen, rejected) = (one, Conversation::exchange("q", "b"));
        let text = line(&[chosen.clone(), rejected]);
        let crate::records::Body::Pair {
            chosen: read,
            rejected: other,
        } = Record::from_slice(text.as_bytes()).unwrap().body
        else {
            panic!("{text}");
        };
        assert_eq!(read.into_conversation().unwrap(), chosen);
        assert_eq!(other.messages.len(), 2);
    }

    #[test]
    fn candidates_keep_their_groups() {
        for text in [
            r#"{"prompt":"q","responses":["a"]}"#,
            r#"{"prompt":"q","responses":["a","b"],"tools":[{"name":"f"}]}"#,
            r#"{"prompt":"q","system":"s","responses":["a","b","c"]}"#,
            r#"{"prompt":"q","chosen":["a"],"rejected":["b","c"]}"#,
            r#"{"prompt":"q","chosen":["a"],"rejected":["b"]}"#,
            r#"{"prompt":"q","chosen":"a","rejected":"b"}"#,
            r#"{"prompt":"q","response":"a"}"#,
        ] {
            let read = |text: &str| {
                let record = Record::from_slice(text.as_bytes()).unwrap();
                Entry::prepare(Ok((1, record)), false)
            };
            let (entry, conversations) = read(text);
            let sent = line_of(&entry, &conversations);
            let (received, same) = read(&sent);
            assert_eq!(same, conversations, "{text}: {sent}");
            assert_eq!(received.groups(), entry.groups(), "{text}: {sent}");
            assert_eq!(received.sides(), entry.sides(), "{text}: {sent}");
        }
    }

    #[test]
    fn answers_are_counted() {
        let text = "{\"score\":1.5,\"tokens\":3}\n{\"line\":2,\"error\":\"no\"}\n";
        let read = answers(text, 2).unwrap();
        assert!(matches!(&read[0], Ok(Answer::Single(one)) if one.score == Some(1.5)));
        assert_eq!(read[1], Err("no".to_owned()));
        assert!(answers(text, 3).unwrap_err().contains("2 answers to 3"));
        assert!(answers("<html>", 1).is_err());
    }
}
