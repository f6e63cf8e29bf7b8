//! From the columns of a row to its conversations: which of them each form reads.

mod answered;
mod row;

use std::cmp::Ordering;

use self::{
    answered::{candidates, pair, single},
    row::{Result, Row},
};
use super::{
    column::Column,
    form::{Form, opens},
    join::{Mixed, join},
    names::Columns,
    preference, transcript,
};
use crate::{
    json::Json,
    records::{
        body::{Body, Group, RawConversation, Split},
        error::RecordErrorKind,
        fields::{Content, Fields},
        parts,
    },
};

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

impl Row<'_> {
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
