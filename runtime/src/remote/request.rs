//! Records as a server takes them, and its answers to them: a line for each.

use crate::{
    answers::{Answer, Outcome},
    json::{Json, Object},
    text::Conversation,
};

/// The answer to a record, or why it has none.
pub type Answered = Result<Answer, String>;

/// The line of a record of one conversation, or of a pair.
pub(super) fn line(conversations: &[Conversation]) -> String {
    let mut fields = Object::new();
    match conversations {
        [chosen, rejected] => {
            fields.insert("chosen", messages(chosen));
            fields.insert("rejected", messages(rejected));
        }
        one => {
            let all = one.iter().flat_map(|one| &one.messages);
            let all = all.map(|message| Json::from(message.fields().clone()));
            fields.insert("messages", all.collect::<Vec<_>>());
        }
    }
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
    fn answers_are_counted() {
        let text = "{\"score\":1.5,\"tokens\":3}\n{\"line\":2,\"error\":\"no\"}\n";
        let read = answers(text, 2).unwrap();
        assert!(matches!(&read[0], Ok(Answer::Single(one)) if one.score == Some(1.5)));
        assert_eq!(read[1], Err("no".to_owned()));
        assert!(answers(text, 3).unwrap_err().contains("2 answers to 3"));
        assert!(answers("<html>", 1).is_err());
    }
}
