//! From the columns of a row to its conversations.

use std::{borrow::Cow, cmp::Ordering, sync::Arc};

use super::{
    column::Column,
    form::{Form, opens},
    join::{Mixed, join},
    message::message,
    names::Columns,
    preference, transcript, turns,
};
use crate::{
    json::Json,
    records::{
        body::{Body, Candidate, Group, RawConversation, Split},
        error::RecordErrorKind,
        fields::{Content, Fields},
        parts,
    },
};

type Result<T> = std::result::Result<T, RecordErrorKind>;
type Name = Cow<'static, str>;

/// Reads a row of a form that it fits.
pub(super) fn read(form: Form, fields: &mut Fields, columns: &Columns) -> Result<(Body, Split)> {
    let mut row = Row::new(fields, columns)?;
    let (body, split) = match form {
        Form::List | Form::Messages => row.messages()?,
        Form::Response => row.single(Column::Prompt, Column::Response)?,
        Form::Completion => row.single(Column::Prompt, Column::Completion)?,
        Form::Output => row.single(Column::Input, Column::Output)?,
        Form::HelpSteer2 => {
            let prompt = row.turns()?;
            let response = row.content(Column::Response)?;
            let one = row.answered(Some(&prompt), Column::Response, response, Mixed::Fine)?;
            single(one)
        }
        Form::Pair => row.pair()?,
        Form::Transcripts => row.transcripts()?,
        Form::Groups => row.groups()?,
        Form::Responses => row.responses(Column::Responses)?,
        Form::ResponseList => row.responses(Column::Response)?,
        Form::UltraFeedback => row.completions()?,
        Form::HelpSteer2Preference => {
            let prompt = row.turns()?;
            let strength = row.take(Column::PreferenceStrength);
            let order =
                preference::by_number(row.columns.name(Column::PreferenceStrength), &strength)?;
            row.preferred(
                &prompt,
                [Column::FirstResponse, Column::SecondResponse],
                order,
            )?
        }
        Form::HelpSteer3 => {
            let prompt = row.content(Column::Context)?;
            let preference = row.take(Column::OverallPreference);
            let order =
                preference::by_number(row.columns.name(Column::OverallPreference), &preference)?;
            row.preferred(&prompt, [Column::Response1, Column::Response2], order)?
        }
        Form::JudgeBench => {
            let prompt = row.content(Column::Question)?;
            let label = row.take(Column::Label);
            let order = preference::by_label(row.columns.name(Column::Label), &label)?;
            row.preferred(&prompt, [Column::ResponseA, Column::ResponseB], order)?
        }
    };
    row.check_nothing_is_left_out(form, &body)?;
    Ok((body, split))
}

/// A row that is being read.
struct Row<'a> {
    fields: &'a mut Fields,
    columns: &'a Columns,
    system: Option<Arc<str>>,
    tools: Option<Vec<Json>>,
}

/// A conversation of a row.
struct Answered {
    conversation: RawConversation,
    split: Split,
}

impl<'a> Row<'a> {
    fn new(fields: &'a mut Fields, columns: &'a Columns) -> Result<Self> {
        let mut row = Self {
            fields,
            columns,
            system: None,
            tools: None,
        };
        row.system = row.system()?;
        row.tools = match row.fields.take(Column::Tools) {
            None => None,
            Some(Json::Array(tools)) => Some(tools),
            Some(other) => return Err(RecordErrorKind::wrong_type("tools", "a list", &other)),
        };
        Ok(row)
    }

    /// Takes the system prompt, which has two names.
    fn system(&mut self) -> Result<Option<Arc<str>>> {
        let mut found: Option<(Name, Arc<str>)> = None;
        for column in [Column::System, Column::SystemPrompt] {
            let name = self.columns.name(column);
            let text = match self.fields.take(column) {
                None => continue,
                Some(Json::String(text)) => text,
                Some(other) => return Err(RecordErrorKind::wrong_type(name, "a string", &other)),
            };
            match found {
                Some((one, first)) if first != text => {
                    return Err(RecordErrorKind::SystemDiffers {
                        one,
                        other: format!("`{name}`"),
                    });
                }
                Some(_) => {}
                None => found = Some((name, text)),
            }
        }
        Ok(found.map(|(_, text)| text))
    }

    fn take(&mut self, column: Column) -> Json {
        self.fields.take(column).unwrap_or_default()
    }

    /// Takes a column that is a string or a list of messages.
    fn content(&mut self, column: Column) -> Result<Content> {
        match self.take(column) {
            Json::String(text) => Ok(Content::Text(text)),
            Json::Array(messages) => Ok(Content::Messages(messages)),
            other => Err(self.wrong(column, "a string or a list of messages", &other)),
        }
    }

    /// Takes the prompt, where there is one.
    fn prompt(&mut self) -> Result<Option<Content>> {
        match self.fields.has(Column::Prompt) {
            true => self.content(Column::Prompt).map(Some),
            false => Ok(None),
        }
    }

    /// Takes a prompt of HelpSteer2.
    fn turns(&mut self) -> Result<Content> {
        let prompt = self.content(Column::Prompt)?;
        let Content::Text(text) = &prompt else {
            return Ok(prompt);
        };
        match turns::messages(text) {
            Ok(None) => Ok(prompt),
            Ok(Some(messages)) => Ok(Content::Messages(messages)),
            Err(expected) => Err(RecordErrorKind::WrongType {
                field: self.columns.name(Column::Prompt),
                expected,
                found: "others",
            }),
        }
    }

    /// Takes a list.
    fn list(&mut self, column: Column, expected: &'static str) -> Result<Vec<Json>> {
        match self.take(column) {
            Json::Array(list) => Ok(list),
            other => Err(self.wrong(column, expected, &other)),
        }
    }

    fn wrong(&self, column: Column, expected: &'static str, found: &Json) -> RecordErrorKind {
        RecordErrorKind::wrong_type(self.columns.name(column), expected, found)
    }

    fn messages(&mut self) -> Result<(Body, Split)> {
        let messages = self.list(Column::Messages, "a list of messages")?;
        let prompt = self.fields.get(Column::Prompt).and_then(Json::as_str);
        if prompt.is_some_and(|prompt| opens(&messages, prompt)) {
            self.fields.take(Column::Prompt);
        }
        self.conversation(Column::Messages, messages, None)
            .map(single)
    }

    fn single(&mut self, prompt: Column, answer: Column) -> Result<(Body, Split)> {
        let before = self.content(prompt)?;
        let content = self.content(answer)?;
        let joined = join(
            &before,
            &self.columns.name(prompt),
            &self.columns.name(answer),
            content,
            Mixed::Refused,
        )?;
        self.conversation(prompt, joined.messages, Some(joined.split))
            .map(single)
    }

    fn pair(&mut self) -> Result<(Body, Split)> {
        if self.fields.get(Column::Messages) == self.fields.get(Column::Chosen) {
            self.fields.take(Column::Messages);
        }
        let prompt = self.prompt()?;
        let mut side = |column| {
            let completion = self.content(column)?;
            self.answered(prompt.as_ref(), column, completion, Mixed::Refused)
        };
        let (chosen, rejected) = (side(Column::Chosen)?, side(Column::Rejected)?);
        Ok(pair(chosen, rejected))
    }

    fn transcripts(&mut self) -> Result<(Body, Split)> {
        let mut side = |column| {
            let field = self.columns.name(column);
            let text = match self.take(column) {
                Json::String(text) => text,
                other => return Err(self.wrong(column, "a string", &other)),
            };
            let messages = transcript::messages(&text)
                .map_err(|problem| RecordErrorKind::NotATranscript { field, problem })?;
            self.conversation(column, messages, None)
        };
        let (chosen, rejected) = (side(Column::Chosen)?, side(Column::Rejected)?);
        Ok(pair(chosen, rejected))
    }

    fn groups(&mut self) -> Result<(Body, Split)> {
        let prompt = self.prompt()?;
        let mut all = Vec::new();
        for (column, group) in [
            (Column::Chosen, Group::Chosen),
            (Column::Rejected, Group::Rejected),
        ] {
            let answers = self.list(column, "a list of answers")?;
            all.extend(self.answers(prompt.as_ref(), column, answers, Some(group))?);
        }
        Ok(candidates(all))
    }

    fn responses(&mut self, column: Column) -> Result<(Body, Split)> {
        let prompt = self.prompt()?;
        let answers = self.list(column, "a list of answers")?;
        let all = self.answers(prompt.as_ref(), column, answers, None)?;
        Ok(candidates(all))
    }

    fn completions(&mut self) -> Result<(Body, Split)> {
        let prompt = self.content(Column::Instruction)?;
        let completions = self.list(Column::Completions, "a list of objects with `response`")?;
        let answers = completions.into_iter().enumerate().map(|(index, one)| {
            let field = format!("{}[{index}]", self.columns.name(Column::Completions));
            match one {
                Json::Object(mut fields) => match fields.remove("response") {
                    Some(text @ Json::String(_)) => Ok(text),
                    other => Err(RecordErrorKind::wrong_type(
                        format!("{field}.response"),
                        "a string",
                        &other.unwrap_or_default(),
                    )),
                },
                other => Err(RecordErrorKind::wrong_type(
                    field,
                    "an object with `response`",
                    &other,
                )),
            }
        });
        let answers = answers.collect::<Result<_>>()?;
        let all = self.answers(Some(&prompt), Column::Completions, answers, None)?;
        Ok(candidates(all))
    }

    /// Two answers of which the first is preferred where the order is greater, and none where they are equal.
    fn preferred(
        &mut self,
        prompt: &Content,
        answers: [Column; 2],
        order: Ordering,
    ) -> Result<(Body, Split)> {
        let mut answer = |column| {
            let content = self.content(column)?;
            self.answered(Some(prompt), column, content, Mixed::Fine)
        };
        let [first, second] = answers;
        let (first, second) = (answer(first)?, answer(second)?);
        Ok(match order {
            Ordering::Greater => pair(first, second),
            Ordering::Less => pair(second, first),
            Ordering::Equal => candidates(vec![(None, first), (None, second)]),
        })
    }

    /// The conversations of a list of answers.
    fn answers(
        &self,
        prompt: Option<&Content>,
        column: Column,
        answers: Vec<Json>,
        group: Option<Group>,
    ) -> Result<Vec<(Option<Group>, Answered)>> {
        if answers.is_empty() {
            let field = self.columns.name(column);
            return Err(RecordErrorKind::NoAnswers { field });
        }
        let all = answers.into_iter().enumerate().map(|(index, answer)| {
            let field = || format!("{}[{index}]", self.columns.name(column));
            let content = match answer {
                Json::String(text) => Content::Text(text),
                Json::Array(messages) => Content::Messages(messages),
                message if message.get("role").is_some() => Content::Messages(vec![message]),
                other => {
                    return Err(RecordErrorKind::wrong_type(
                        field(),
                        "a string, a message or a list of messages",
                        &other,
                    ));
                }
            };
            let one = self.answered_as(prompt, column, field().into(), content, Mixed::Fine)?;
            Ok((group, one))
        });
        all.collect()
    }

    fn answered(
        &self,
        prompt: Option<&Content>,
        column: Column,
        answer: Content,
        mixed: Mixed,
    ) -> Result<Answered> {
        self.answered_as(prompt, column, self.columns.name(column), answer, mixed)
    }

    /// The conversation of a prompt and its answer, which `field` holds; or of an answer that is one by itself.
    fn answered_as(
        &self,
        prompt: Option<&Content>,
        column: Column,
        field: Name,
        answer: Content,
        mixed: Mixed,
    ) -> Result<Answered> {
        match (prompt, answer) {
            (Some(prompt), answer) => {
                let before = self.columns.name(Column::Prompt);
                let joined = join(prompt, &before, &field, answer, mixed)?;
                self.conversation(column, joined.messages, Some(joined.split))
            }
            // Without what it answers it would be scored as something else.
            (None, Content::Messages(messages)) if is_only_answer(&messages) => {
                Err(RecordErrorKind::OnlyAnswer { field })
            }
            (None, Content::Messages(messages)) => self.conversation(column, messages, None),
            (None, Content::Text(_)) => Err(RecordErrorKind::NoPrompt { field }),
        }
    }

    /// Adds what the row says of all its conversations.
    fn conversation(
        &self,
        column: Column,
        mut messages: Vec<Json>,
        split: Option<Split>,
    ) -> Result<Answered> {
        let mut split = split.unwrap_or_default();
        if let Some(system) = &self.system {
            split.is_text = false;
            let added = put_in_front(system, &mut messages).ok_or_else(|| {
                RecordErrorKind::SystemDiffers {
                    one: self.columns.name(Column::System),
                    other: format!("the system message of `{}`", self.columns.name(column)),
                }
            })?;
            split.prompt_messages = split
                .prompt_messages
                .map(|count| count + usize::from(added));
        }
        Ok(Answered {
            conversation: RawConversation {
                messages,
                tools: self.tools.clone(),
            },
            split,
        })
    }

    /// Refuses a row that has a part of the conversation in a column that was not read.
    fn check_nothing_is_left_out(&self, form: Form, body: &Body) -> Result<()> {
        let conversations: Vec<&RawConversation> = match body {
            Body::Single(one) => vec![one],
            Body::Pair { chosen, rejected } => vec![chosen, rejected],
            Body::Candidates(all) => all.iter().map(|one| &one.conversation).collect(),
        };
        let is_there = |value: &Json| match value {
            Json::Array(list) => conversations
                .iter()
                .all(|one| one.messages.starts_with(list)),
            Json::String(text) => {
                text.is_empty()
                    || conversations
                        .iter()
                        .all(|one| one.messages.iter().any(|message| parts::say(message, text)))
            }
            _ => false,
        };
        let mut parts = self.fields.known().filter(|(column, _)| column.is_part());
        match parts.find(|(_, value)| !is_there(value)) {
            None => Ok(()),
            Some((column, _)) => Err(RecordErrorKind::PartIgnored {
                field: self.columns.name(column),
                layout: form.name(),
            }),
        }
    }
}

fn single(one: Answered) -> (Body, Split) {
    (Body::Single(one.conversation), one.split)
}

fn pair(chosen: Answered, rejected: Answered) -> (Body, Split) {
    let split = both(chosen.split, rejected.split);
    let body = Body::Pair {
        chosen: chosen.conversation,
        rejected: rejected.conversation,
    };
    (body, split)
}

fn candidates(all: Vec<(Option<Group>, Answered)>) -> (Body, Split) {
    let splits = all.iter().map(|(_, one)| one.split);
    let split = splits.reduce(both).unwrap_or_default();
    let all = all.into_iter().map(|(group, one)| Candidate {
        group,
        conversation: one.conversation,
    });
    (Body::Candidates(all.collect()), split)
}

/// What is so in two conversations of a record.
fn both(one: Split, other: Split) -> Split {
    Split {
        prompt_messages: one
            .prompt_messages
            .filter(|count| other.prompt_messages == Some(*count)),
        is_text: one.is_text && other.is_text,
    }
}

/// Puts a system message in front, unless the same is there: whether one was added. `None` where there is another one.
fn put_in_front(system: &Arc<str>, messages: &mut Vec<Json>) -> Option<bool> {
    let is_system = |message: &Json| message.get("role").and_then(Json::as_str) == Some("system");
    match messages.first() {
        Some(first) if is_system(first) => parts::say(first, system).then_some(false),
        _ => {
            messages.insert(0, message("system", Arc::clone(system)));
            Some(true)
        }
    }
}

fn is_only_answer(messages: &[Json]) -> bool {
    let is_answer =
        |message: &Json| message.get("role").and_then(Json::as_str) == Some("assistant");
    !messages.is_empty() && messages.iter().all(is_answer)
}
