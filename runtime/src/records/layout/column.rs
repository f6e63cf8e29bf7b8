//! The columns that have a meaning in some layout.

/// Declares columns with the names that data sets give them.
macro_rules! columns {
    ($($column:ident $name:literal)*) => {
        /// A column that has a meaning in some layout.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Column {
            $($column,)*
        }

        impl Column {
            /// The column of this name, as data sets have it.
            pub(crate) fn of(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$column),)*
                    _ => None,
                }
            }

            /// What data sets call it.
            pub(crate) fn usual_name(self) -> &'static str {
                match self {
                    $(Self::$column => $name,)*
                }
            }
        }
    };
}

columns! {
    Id "id"
    Tools "tools"
    System "system"
    SystemPrompt "system_prompt"
    Messages "messages"
    Prompt "prompt"
    Response "response"
    Chosen "chosen"
    Rejected "rejected"
    Completion "completion"
    Responses "responses"
    Completions "completions"
    Output "output"
    Instruction "instruction"
    Input "input"
    Context "context"
    Question "question"
    Query "query"
    History "history"
    Conversation "conversation"
    Conversations "conversations"
    FirstResponse "response_1"
    SecondResponse "response_2"
    Response1 "response1"
    Response2 "response2"
    ResponseA "response_A"
    ResponseB "response_B"
    Label "label"
    PreferenceStrength "preference_strength"
    OverallPreference "overall_preference"
    Helpfulness "helpfulness"
    Verbosity "verbosity"
}

impl Column {
    /// The columns of the plain forms of records that say what is scored, in the order in which errors name them.
    pub(crate) const PLAIN: [Self; 5] = [
        Self::Messages,
        Self::Prompt,
        Self::Response,
        Self::Chosen,
        Self::Rejected,
    ];

    /// Columns that hold what comes before an answer. One that a layout has no use for may not be passed over: the answer
    /// would be scored without it.
    const PARTS: [Self; 11] = [
        Self::Prompt,
        Self::System,
        Self::SystemPrompt,
        Self::Instruction,
        Self::Input,
        Self::Context,
        Self::Question,
        Self::Query,
        Self::History,
        Self::Conversation,
        Self::Conversations,
    ];

    /// Whether it holds what comes before an answer.
    pub(crate) fn is_part(self) -> bool {
        Self::PARTS.contains(&self)
    }

    /// Whether every form of record may have it beside what is scored.
    pub(crate) fn is_aside(self) -> bool {
        matches!(
            self,
            Self::Id | Self::Tools | Self::System | Self::SystemPrompt
        )
    }
}
