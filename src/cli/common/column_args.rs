//! Which columns of records hold what.

use super::heading;
use crate::records::ColumnNames;

/// Names of columns, where a layout is not found by the usual ones.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::COLUMNS)]
pub(crate) struct ColumnArgs {
    /// The column of the prompt, a string or messages
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt_column: Option<String>,
    /// The column of the answer to the prompt, or of a list of answers
    #[arg(long, value_name = "NAME")]
    pub(crate) response_column: Option<String>,
    /// The column of whole conversations, lists of messages
    #[arg(long, value_name = "NAME")]
    pub(crate) messages_column: Option<String>,
    /// The column of preferred answers or conversations
    #[arg(long, value_name = "NAME")]
    pub(crate) chosen_column: Option<String>,
    /// The column of the other answers or conversations
    #[arg(long, value_name = "NAME")]
    pub(crate) rejected_column: Option<String>,
    /// The column of the system prompt
    #[arg(long, value_name = "NAME")]
    pub(crate) system_column: Option<String>,
    /// A column to leave alone, which would be taken for a part of the conversation
    #[arg(long, value_name = "NAME")]
    pub(crate) ignore_column: Vec<String>,
}

impl ColumnArgs {
    pub(crate) fn names(&self) -> ColumnNames {
        let mut names = ColumnNames::default();
        names.prompt.clone_from(&self.prompt_column);
        names.response.clone_from(&self.response_column);
        names.messages.clone_from(&self.messages_column);
        names.chosen.clone_from(&self.chosen_column);
        names.rejected.clone_from(&self.rejected_column);
        names.system.clone_from(&self.system_column);
        names.ignored.clone_from(&self.ignore_column);
        names
    }
}
