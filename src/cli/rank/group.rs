//! The candidates of a prompt: from one record, or from several that follow one another.

use crate::{
    Conversation,
    cli::score::input::{Place, Taken},
    json::{Json, Object},
    records::{Entry, Group, Side},
};

/// Most records of a group: they are held in memory until the last of them is seen.
const MOST_RECORDS: usize = 4096;

/// A record, and the value of the column that it is put together with others by.
pub(super) struct Member {
    place: Place,
    key: Option<Json>,
}

impl Member {
    pub(super) fn of(taken: Taken, column: Option<&str>) -> Self {
        Self {
            key: column.and_then(|column| taken.columns.value(column)),
            place: taken.place,
        }
    }
}

/// What is ranked together, or why it is not.
pub(super) struct Candidates {
    /// The record that it begins with. Of several records that are put together, it stands for all of them.
    pub(super) first: Place,
    /// The value of the column that groups were made by.
    pub(super) key: Option<Json>,
    /// How each candidate is named.
    pub(super) labels: Vec<Label>,
    /// The conversations; the same that are scored.
    pub(super) conversations: Vec<Conversation>,
    /// Messages of each that are the prompt.
    pub(super) prompt: usize,
    /// Whether prompt and answers were strings.
    pub(super) is_text: bool,
    /// Why they are not ranked.
    pub(super) problem: Option<String>,
}

impl AsRef<Entry> for Candidates {
    fn as_ref(&self) -> &Entry {
        &self.first.entry
    }
}

/// How a candidate is named, beside its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Label {
    pub(super) id: Option<Json>,
    pub(super) group: Option<Group>,
}

/// Puts records together.
pub(super) struct Grouping<'a, I> {
    members: I,
    column: Option<&'a str>,
    next: Option<(Member, Vec<Conversation>)>,
}

impl<'a, I: Iterator<Item = (Member, Vec<Conversation>)>> Grouping<'a, I> {
    pub(super) fn new(members: I, column: Option<&'a str>) -> Self {
        Self {
            members,
            column,
            next: None,
        }
    }

    fn take(&mut self) -> Option<(Member, Vec<Conversation>)> {
        self.next.take().or_else(|| self.members.next())
    }

    /// The records from this one on that have the same value in the column, each one conversation.
    fn group(&mut self, column: &str, first: Member, conversation: Conversation) -> Candidates {
        let Member { place, key } = first;
        let Some(key) = key else {
            let problem = format!("it has no `{column}`, the column of --group-by");
            return Candidates::refused(place, problem);
        };
        let mut members = vec![Answer::of(&place.entry, conversation)];
        let mut is_full = false;
        for (other, mut conversations) in self.members.by_ref() {
            let entry = &other.place.entry;
            let is_same = entry.sides() == [Side::Whole] && other.key.as_ref() == Some(&key);
            is_full = is_same && members.len() == MOST_RECORDS;
            match conversations.pop() {
                Some(one) if is_same && !is_full => members.push(Answer::of(entry, one)),
                last => {
                    self.next = Some((other, last.into_iter().collect()));
                    break;
                }
            }
        }
        let problem = if is_full {
            Some(format!(
                "more than {MOST_RECORDS} records in a row have this `{column}`, the most that are ranked together"
            ))
        } else if members
            .iter()
            .any(|member| !member.has_prompt_of(&members[0]))
        {
            Some(format!(
                "the records with this `{column}` have different prompts, and are not ranked together"
            ))
        } else {
            None
        };
        let labels = members.iter().map(|member| Label {
            id: member.id.clone(),
            group: None,
        });
        Candidates {
            labels: labels.collect(),
            first: Place {
                entry: place.entry.gathered(members.len()),
                ..place
            },
            key: Some(key),
            prompt: members[0].prompt,
            is_text: members.iter().all(|member| member.is_text),
            conversations: members
                .into_iter()
                .map(|member| member.conversation)
                .collect(),
            problem,
        }
    }
}

/// The conversation of a record of a group.
struct Answer {
    id: Option<Json>,
    conversation: Conversation,
    /// Messages of it that are the prompt.
    prompt: usize,
    is_text: bool,
}

impl Answer {
    fn of(entry: &Entry, conversation: Conversation) -> Self {
        // Where the record has no prompt of its own, the last message is the answer.
        let last = conversation.messages.len().saturating_sub(1);
        Self {
            id: entry.id.clone(),
            prompt: entry
                .split
                .prompt_messages
                .map_or(last, |own| own.min(last)),
            is_text: entry.split.is_text,
            conversation,
        }
    }

    fn has_prompt_of(&self, other: &Self) -> bool {
        self.conversation.tools == other.conversation.tools
            && self.conversation.messages[..self.prompt]
                == other.conversation.messages[..other.prompt]
    }
}

impl<I: Iterator<Item = (Member, Vec<Conversation>)>> Iterator for Grouping<'_, I> {
    type Item = (Candidates, Vec<Conversation>);

    fn next(&mut self) -> Option<Self::Item> {
        let (member, mut conversations) = self.take()?;
        let candidates = match member.place.entry.sides().as_slice() {
            [] => Candidates::refused(member.place, String::new()),
            [Side::Whole] => match (self.column, conversations.pop()) {
                (Some(column), Some(one)) => self.group(column, member, one),
                _ => Candidates::refused(
                    member.place,
                    "one conversation alone is not ranked: give candidates (`prompt` and `responses`), or put records \
                     together with --group-by"
                        .to_owned(),
                ),
            },
            _ => Candidates::of(member.place, conversations),
        };
        let scored = match candidates.problem {
            None => candidates.conversations.clone(),
            Some(_) => Vec::new(),
        };
        Some((candidates, scored))
    }
}

impl Candidates {
    /// Those of one record.
    fn of(place: Place, conversations: Vec<Conversation>) -> Self {
        let entry = &place.entry;
        let groups = entry.groups().map(<[_]>::to_vec);
        let groups = groups.unwrap_or_else(|| vec![Some(Group::Chosen), Some(Group::Rejected)]);
        let common = common(&conversations);
        Self {
            labels: groups
                .into_iter()
                .map(|group| Label { id: None, group })
                .collect(),
            key: None,
            // A prompt of which an answer would be nothing cannot be one.
            prompt: entry
                .split
                .prompt_messages
                .map_or(common, |own| own.min(common)),
            is_text: entry.split.is_text,
            first: place,
            conversations,
            problem: None,
        }
    }

    fn refused(place: Place, problem: String) -> Self {
        let problem = match place.entry.check() {
            Ok(()) => problem,
            Err(error) => error.to_string(),
        };
        Self {
            first: place,
            key: None,
            labels: Vec::new(),
            conversations: Vec::new(),
            prompt: 0,
            is_text: false,
            problem: Some(problem),
        }
    }

    /// Adds the columns of a record of TRL that all candidates share.
    pub(super) fn with_prompt(&self, mut fields: Object) -> Object {
        let Some(first) = self.conversations.first() else {
            return fields;
        };
        fields.insert("prompt", self.written(first, 0..self.prompt));
        if let Some(tools) = &first.tools {
            fields.insert("tools", tools.clone());
        }
        fields
    }

    /// An answer, as prompts are written.
    pub(super) fn answer(&self, index: usize) -> Json {
        let conversation = &self.conversations[index];
        self.written(conversation, self.prompt..conversation.messages.len())
    }

    fn written(&self, conversation: &Conversation, messages: std::ops::Range<usize>) -> Json {
        let messages = &conversation.messages[messages];
        match messages {
            [one] if self.is_text => one.fields()["content"].clone(),
            all => {
                let all = all
                    .iter()
                    .map(|message| Json::from(message.fields().clone()));
                Json::from(all.collect::<Vec<_>>())
            }
        }
    }
}

/// How many messages all conversations begin with, without the last of any.
fn common(conversations: &[Conversation]) -> usize {
    let shortest = conversations.iter().map(|one| one.messages.len()).min();
    let most = shortest.unwrap_or(0).saturating_sub(1);
    let alike = |at: &usize| {
        let mut all = conversations.iter().map(|one| &one.messages[*at]);
        let first = all.next();
        all.all(|other| Some(other) == first)
    };
    (0..most).take_while(alike).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::records::RowReader;

    fn members(keys: &[usize]) -> Vec<(Member, Vec<Conversation>)> {
        let mut rows = RowReader::default();
        let read = keys.iter().enumerate().map(|(index, key)| {
            let record = rows.read(json!({"prompt": "q", "response": "a"})).unwrap();
            let (entry, conversations) = Entry::prepare(Ok((index + 1, record)), false);
            let place = Place {
                entry,
                file: "in".into(),
                unit: "line",
            };
            let key = Some(Json::from(*key));
            (Member { place, key }, conversations)
        });
        read.collect()
    }

    #[test]
    fn a_group_is_bounded() {
        for (count, problems) in [(MOST_RECORDS, 0), (MOST_RECORDS + 1, 1)] {
            let mut keys = vec![1; count];
            keys.push(2);
            let groups: Vec<_> = Grouping::new(members(&keys).into_iter(), Some("key")).collect();
            let failed: Vec<_> = groups
                .iter()
                .filter_map(|(group, _)| group.problem.clone())
                .collect();
            assert_eq!(failed.len(), problems);
            assert!(
                failed.iter().all(|problem| problem.contains("4096")),
                "{failed:?}"
            );
            assert_eq!(groups.len(), 2 + problems);
            let last = &groups[groups.len() - 1];
            assert_eq!((last.0.first.entry.line, last.1.len()), (count + 1, 1));
        }
    }

    #[test]
    fn what_all_begin_with_is_the_prompt() {
        let conversation = |texts: &[&str]| {
            let all = texts.iter().map(|text| crate::Message::new("user", *text));
            Conversation::new(all.collect())
        };
        for (all, expected) in [
            (&[&["a", "b", "c"][..], &["a", "b", "d"]][..], 2),
            (&[&["a", "b"], &["a", "b"]], 1),
            (&[&["a"], &["a", "b"]], 0),
            (&[&["a", "b"], &["c", "b"]], 0),
        ] {
            let all: Vec<_> = all.iter().map(|texts| conversation(texts)).collect();
            assert_eq!(common(&all), expected);
        }
    }
}
