//! The layouts that are known, and which of them a row has.

use super::{
    column::Column,
    kind::{Kind, kind},
    names::Columns,
    transcript,
};
use crate::{
    json::Json,
    records::{
        error::{NearLayout, RecordErrorKind},
        fields::Fields,
        parts,
    },
};

/// How a row becomes conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A list of messages that is no field of anything.
    List,
    /// `messages`.
    Messages,
    /// `prompt` and `response`.
    Response,
    /// `chosen` and `rejected`, with or without `prompt`.
    Pair,
    /// The same, each a list of answers.
    Groups,
    /// `responses`, a list of answers, with or without `prompt`.
    Responses,
    /// A column that was named as the answer and holds a list of them.
    ResponseList,
    /// `chosen` and `rejected`, each the text of a conversation.
    Transcripts,
    /// `prompt`, whose turns are marked, and `response`.
    HelpSteer2,
    HelpSteer2Preference,
    HelpSteer3,
    JudgeBench,
    UltraFeedback,
    /// `prompt` and `completion`.
    Completion,
    /// `input` and `output`.
    Output,
}

/// The layouts that are found by columns that no other has.
const BY_COLUMNS: [Form; 6] = [
    Form::HelpSteer2Preference,
    Form::HelpSteer3,
    Form::JudgeBench,
    Form::UltraFeedback,
    Form::Responses,
    Form::Completion,
];

impl Form {
    /// The columns without which it is not read.
    pub(super) fn needs(self) -> &'static [Column] {
        match self {
            Self::List => &[],
            Self::Messages => &[Column::Messages],
            Self::Response | Self::ResponseList | Self::HelpSteer2 => {
                &[Column::Prompt, Column::Response]
            }
            Self::Pair | Self::Groups | Self::Transcripts => &[Column::Chosen, Column::Rejected],
            Self::Responses => &[Column::Responses],
            Self::HelpSteer2Preference => &[
                Column::Prompt,
                Column::FirstResponse,
                Column::SecondResponse,
                Column::PreferenceStrength,
            ],
            Self::HelpSteer3 => &[
                Column::Context,
                Column::Response1,
                Column::Response2,
                Column::OverallPreference,
            ],
            Self::JudgeBench => &[
                Column::Question,
                Column::ResponseA,
                Column::ResponseB,
                Column::Label,
            ],
            Self::UltraFeedback => &[Column::Instruction, Column::Completions],
            Self::Completion => &[Column::Prompt, Column::Completion],
            Self::Output => &[Column::Input, Column::Output],
        }
    }

    /// The columns of a row that it reads, in the order in which they are named.
    pub(super) fn reads(self, fields: &Fields) -> Vec<Column> {
        let has_prompt = matches!(self, Self::Pair | Self::Groups | Self::Responses)
            && fields.has(Column::Prompt);
        let prompt = has_prompt.then_some(Column::Prompt);
        let needs = self.needs().iter().copied();
        prompt.into_iter().chain(needs).collect()
    }

    /// Whether each record of an input may have another of these forms: their fields say by themselves what they are.
    pub(super) fn is_plain(self) -> bool {
        matches!(
            self,
            Self::List
                | Self::Messages
                | Self::Response
                | Self::HelpSteer2
                | Self::Pair
                | Self::Groups
                | Self::Responses
        )
    }

    /// What it is called where no other columns say more.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::List => "lists of messages",
            Self::Messages => "messages",
            Self::Response => "prompt and response",
            Self::Pair => "TRL preference",
            Self::Groups => "groups of answers",
            Self::Responses | Self::ResponseList => "best of N",
            Self::Transcripts => "HH-RLHF transcripts",
            Self::HelpSteer2 => "HelpSteer2",
            Self::HelpSteer2Preference => "HelpSteer2 preference",
            Self::HelpSteer3 => "HelpSteer3",
            Self::JudgeBench => "JudgeBench",
            Self::UltraFeedback => "UltraFeedback",
            Self::Completion => "TRL prompt-completion",
            Self::Output => "OpenRLHF",
        }
    }

    fn fits(self, fields: &Fields) -> bool {
        self.needs().iter().all(|column| fields.has(*column))
    }

    /// The error of a row that lacks columns of the form.
    pub(super) fn check_fits(
        self,
        fields: &Fields,
        columns: &Columns,
    ) -> Result<(), RecordErrorKind> {
        match self.fits(fields) {
            true => Ok(()),
            false => Err(self.other(fields, columns)),
        }
    }

    /// The error of a row that has another form than this one.
    pub(super) fn other(self, fields: &Fields, columns: &Columns) -> RecordErrorKind {
        RecordErrorKind::OtherLayout {
            layout: match columns.are_named() {
                true => AS_NAMED.to_owned(),
                false => self.name().to_owned(),
            },
            needed: names(self.needs(), columns),
            present: fields.names(columns),
            null: fields.null(columns),
        }
    }
}

/// What a layout is called whose columns were named.
pub(super) const AS_NAMED: &str = "columns as named";

/// The form of a row whose columns say which.
pub(super) fn find(fields: &Fields, columns: &Columns) -> Result<Form, RecordErrorKind> {
    if let Some(needed) = columns.needed() {
        let form = match needed {
            [Column::Messages] => Form::Messages,
            [Column::Prompt, Column::Response] => match fields.get(Column::Response).map(kind) {
                Some(Kind::Texts | Kind::Conversations | Kind::Mixed) => Form::ResponseList,
                _ => Form::Response,
            },
            _ => pair(fields),
        };
        return form.check_fits(fields, columns).map(|()| form);
    }
    let plain = plain(fields);
    let others = BY_COLUMNS.into_iter().filter(|form| form.fits(fields));
    let found: Vec<Form> = plain.into_iter().chain(others).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] if Form::Output.fits(fields) => Ok(Form::Output),
        [] => Err(RecordErrorKind::NoSingleForm {
            present: fields.names(columns),
            null: fields.null(columns),
            near: near(fields, columns),
        }),
        several => Err(RecordErrorKind::SeveralLayouts {
            layouts: several
                .iter()
                .map(|form| {
                    let names = names(&form.reads(fields), columns);
                    format!("{} ({})", form.name(), names.join(", "))
                })
                .collect(),
        }),
    }
}

/// The plain form of a row, where its fields make exactly one.
fn plain(fields: &Fields) -> Option<Form> {
    use Column::{Chosen, Helpfulness, Messages, Prompt, Rejected, Response, Verbosity};
    match fields.present().as_slice() {
        // Data sets repeat themselves: UltraFeedback's `messages` are its `chosen` again, and a `prompt`
        // is often the first user message again.
        [Messages, .., Chosen, Rejected] if fields.get(Messages) == fields.get(Chosen) => {
            Some(pair(fields))
        }
        [Messages, Prompt] if prompt_opens(fields, Messages) => Some(Form::Messages),
        [Messages] => Some(Form::Messages),
        [Prompt, Response] if fields.has(Helpfulness) && fields.has(Verbosity) => {
            Some(Form::HelpSteer2)
        }
        [Prompt, Response] => Some(Form::Response),
        [Prompt, Chosen, Rejected] | [Chosen, Rejected] => Some(pair(fields)),
        _ => None,
    }
}

/// What `chosen` and `rejected` are, by what they hold.
fn pair(fields: &Fields) -> Form {
    let is_list =
        |value: &Json| matches!(kind(value), Kind::Texts | Kind::Conversations | Kind::Mixed);
    let both = [Column::Chosen, Column::Rejected].map(|column| fields.get(column));
    match both {
        [Some(chosen), Some(rejected)] if is_list(chosen) || is_list(rejected) => Form::Groups,
        [Some(Json::String(chosen)), Some(Json::String(rejected))]
            if !fields.has(Column::Prompt)
                && (transcript::is_meant(chosen) || transcript::is_meant(rejected)) =>
        {
            Form::Transcripts
        }
        _ => Form::Pair,
    }
}

/// Whether the record's string `prompt` opens its list in `column`.
fn prompt_opens(fields: &Fields, column: Column) -> bool {
    let list = fields.get(column).and_then(Json::as_array);
    let prompt = fields.get(Column::Prompt).and_then(Json::as_str);
    matches!((list, prompt), (Some(list), Some(prompt)) if opens(list, prompt))
}

/// Whether `prompt` is the text of the first message that is not the system's.
pub(super) fn opens(messages: &[Json], prompt: &str) -> bool {
    let is = |message: &Json, role: &str| message.get("role").and_then(Json::as_str) == Some(role);
    let first = messages.iter().find(|message| !is(message, "system"));
    first.is_some_and(|first| is(first, "user") && parts::say(first, prompt))
}

/// The layout of which a row has the most columns, two at least.
fn near(fields: &Fields, columns: &Columns) -> Option<NearLayout> {
    let forms = BY_COLUMNS.into_iter().filter(|form| form.needs().len() > 2);
    let counted = forms.map(|form| {
        let (has, lacks): (Vec<_>, Vec<_>) =
            form.needs().iter().partition(|column| fields.has(**column));
        (form, has.len(), lacks)
    });
    let (form, has, lacks) = counted.max_by_key(|(_, has, _)| *has)?;
    (has > 1).then(|| NearLayout {
        name: form.name(),
        missing: names(&lacks, columns),
    })
}

pub(super) fn names(of: &[Column], columns: &Columns) -> Vec<String> {
    of.iter()
        .map(|column| columns.name(*column).into_owned())
        .collect()
}
