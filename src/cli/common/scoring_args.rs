//! The options of commands that score what they are given, on what becomes of a conversation.

use super::{
    choices::{ReduceWay, SpecialTokensWay, TruncationWay},
    heading,
    records::RecordArgs,
    scorer_args::ScorerArgs,
};
use crate::ScorerOptions;

/// How conversations are made ready for a model, and what is made of what it says.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::SCORING)]
pub(crate) struct ScoringArgs {
    /// Most tokens of a conversation [default and upper bound: the bundle's limit]
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_length: Option<usize>,
    /// What happens to a longer conversation
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    pub(crate) truncation: TruncationWay,
    /// Make one score of the scores of an answer's steps, for a model that scores steps
    #[arg(long, value_name = "WAY", value_enum)]
    pub(crate) reduce: Option<ReduceWay>,
    /// What the text of a special token stands for in the content of a conversation
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    pub(crate) special_tokens: SpecialTokensWay,
}

impl ScoringArgs {
    /// With those of the model and of the records, all that a scorer is opened with.
    pub(crate) fn options(&self, scorer: &ScorerArgs, records: &RecordArgs) -> ScorerOptions {
        let mut options = scorer
            .options()
            .with_truncation(self.truncation.into())
            .with_special_tokens(self.special_tokens.into());
        options.reduce = self.reduce.map(Into::into);
        options.max_length = self.max_length;
        options.allow_no_answer = records.allow_no_answer;
        options
    }
}
