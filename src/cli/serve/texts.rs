//! What is done about texts that are not what the model was trained on.

use clap::ValueEnum;

use crate::{
    ScorerOptions, SystemDefault,
    cli::common::{choices::SpecialTokensWay, heading},
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::SCORING)]
pub(crate) struct TextArgs {
    /// What is done with a text that comes with the default system prompt of the template, which the model was not
    /// trained on
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    system_default: SystemDefaultWay,
    /// Put the token at which the model is scored behind texts that were templated without it
    #[arg(long)]
    append_end_token: bool,
    /// What the text of a special token stands for in the content of a conversation
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    special_tokens: SpecialTokensWay,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum SystemDefaultWay {
    /// It is scored as it is
    #[default]
    Keep,
    /// It is scored with an empty system prompt in its place
    Strip,
}

impl TextArgs {
    pub(crate) fn set(&self, options: ScorerOptions) -> ScorerOptions {
        let system_default = match self.system_default {
            SystemDefaultWay::Keep => SystemDefault::Keep,
            SystemDefaultWay::Strip => SystemDefault::Strip,
        };
        options
            .with_system_default(system_default)
            .with_append_end_token(self.append_end_token)
            .with_special_tokens(self.special_tokens.into())
    }
}
