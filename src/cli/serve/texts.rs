//! What is done to the texts that clients send.

use clap::ValueEnum;

use crate::{
    ScorerOptions,
    cli::common::{choices::SpecialTokensWay, heading},
    text::SystemDefault,
};

/// What is done to the texts that clients send.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::SCORING)]
pub(crate) struct TextArgs {
    /// What the text of a special token in a message becomes
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    special_tokens: SpecialTokensWay,
    /// What becomes of the template's default system prompt in text that clients have templated, where the model was trained
    /// without it, as WorldPM was: verl and OpenRLHF write it where there is no system message
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    system_default: SystemDefaultWay,
    /// Put the token at which the model is scored behind text that clients have templated and that lacks it, as ROLL's does
    #[arg(long)]
    append_end_token: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum SystemDefaultWay {
    /// It is scored with the rest, and counted
    #[default]
    Keep,
    /// What the model was trained with takes its place
    Strip,
}

impl TextArgs {
    pub(crate) fn put_into(&self, options: &mut ScorerOptions) {
        options.special_tokens = self.special_tokens.into();
        options.append_end_token = self.append_end_token;
        options.system_default = match self.system_default {
            SystemDefaultWay::Keep => SystemDefault::Keep,
            SystemDefaultWay::Strip => SystemDefault::Strip,
        };
    }
}
