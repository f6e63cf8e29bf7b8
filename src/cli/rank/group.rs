//! The candidates of a prompt: from one record, or from several that follow one another.

use crate::{
    Conversation,
    json::{Json, Object},
    records::{Entry, Group, Side},
};

/// Most records of a group: they are held in memory until the last of them is seen.
const MOST_RECORDS: usize = 4096;

/// What is ranked together, or why it is not.
pub(super) struct Candidates {
    /// The record that it begins with.
    pub(super) first: Entry,
    /// The value of the column that groups were made by.
    pub(super) key: Option<Json>,
    /// What each candidate is told by.
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

/// What a candidate is told by, beside its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Label {
    pub(super) id: Option<Json>,
    pub(super) group: Option<Group>,
}

/// Puts records together.
pub(super) struct Grouping<'a, I> {
    entries: I,
    column: Option<&'a str>,
    next: Option<(Entry, Vec<Conversation>)>,
}

impl<'a, I: Iterator<Item = (Entry, Vec<Conversation>)>> Grouping<'a, I> {
    pub(super) fn new(entries: I, column: Option<&'a str>) -> Self {
        Self {
            entries,
            column,
            next: None,
        }
    }

    fn take(&mut self) -> Option<(Entry, Vec<Conversation>)> {
        self.next.take().or_else(|| self.entries.next())
    }

    /// The records after this one that have the same value in the column, each one conversation.
    fn group(&mut self, column: &str, entry: Entry, conversation: Conversation) -> Candidates {
        let Some(key) = value(&entry, column) else {
            return Candidates::refused(
                entry,
                format!("it has no `{column}`, the column of --group-by"),
            );
        };
        let mut all = vec![(
            entry.id.clone(),
            prompt_of(&entry, &conversation),
            entry.split.is_text,
        )];
        let mut conversations = vec![conversation];
        while let Some((other, of_other)) = self.entries.next() {
            let is_same = other.sides() == [Side::Whole]
                && value(&other, column).as_ref() == Some(&key)
                && conversations.len() < MOST_RECORDS;
            if !is_same {
                self.next = Some((other, of_other));
                break;
            }
            let [one] = of_other.as_slice() else { break };
            all.push((
                other.id.clone(),
                prompt_of(&other, one),
                other.split.is_text,
            ));
            conversations.extend(of_other);
        }
        let prompt = all[0].1;
        let begins = &conversations[0].messages[..prompt];
        let same = conversations.iter().zip(&all).all(|(one, (_, own, _))| {
            *own == prompt
                && &one.messages[..prompt] == begins
                && one.tools == conversations[0].tools
        });
        let problem = (!same).then(|| {
            format!("the records with this `{column}` have different prompts, and are not ranked together")
        });
        let full = conversations.len() == MOST_RECORDS
            && self
                .next
                .as_ref()
                .is_some_and(|(other, _)| value(other, column).as_ref() == Some(&key));
        let problem = problem.or_else(|| {
            full.then(|| format!("more than {MOST_RECORDS} records in a row have this `{column}`, which is the most that is ranked together"))
        });
        Candidates {
            labels: all
                .iter()
                .map(|(id, _, _)| Label {
                    id: id.clone(),
                    group: None,
                })
                .collect(),
            first: entry,
            key: Some(key),
            prompt,
            is_text: all.iter().all(|(_, _, is_text)| *is_text),
            conversations,
            problem,
        }
    }
}

impl<I: Iterator<Item = (Entry, Vec<Conversation>)>> Iterator for Grouping<'_, I> {
    type Item = (Candidates, Vec<Conversation>);

    fn next(&mut self) -> Option<Self::Item> {
        let (entry, mut conversations) = self.take()?;
        let candidates = match entry.sides().as_slice() {
            [] => Candidates::refused(entry, String::new()),
            [Side::Whole] => match (self.column, conversations.pop()) {
                (Some(column), Some(one)) => self.group(column, entry, one),
                _ => Candidates::refused(
                    entry,
                    "one conversation alone is not ranked: give candidates (`prompt` and `responses`), or put records \
                     together with --group-by"
                        .to_owned(),
                ),
            },
            _ => Candidates::of(entry, conversations),
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
    fn of(entry: Entry, conversations: Vec<Conversation>) -> Self {
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
            first: entry,
            conversations,
            problem: None,
        }
    }

    fn refused(entry: Entry, problem: String) -> Self {
        let problem = match entry.check() {
            Ok(()) => problem,
            Err(error) => error.to_string(),
        };
        Self {
            first: entry,
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

/// The value of a column, where there is one.
fn value(entry: &Entry, column: &str) -> Option<Json> {
    let value = entry.fields.as_ref()?.get(column)?;
    (!value.is_null()).then(|| value.clone())
}

/// Messages of the prompt of a record with one conversation: all but the last, where it has none of its own.
fn prompt_of(entry: &Entry, conversation: &Conversation) -> usize {
    let last = conversation.messages.len().saturating_sub(1);
    entry
        .split
        .prompt_messages
        .map_or(last, |own| own.min(last))
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
