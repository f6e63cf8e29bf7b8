use super::handling::SpecialTokenHandling;

/// How conversations become text, where the checkpoint leaves a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextOptions {
    /// Put an empty system message in front of a conversation that does not start with a system message. Default: true.
    ///
    /// WorldPM was trained this way: the empty block stops Qwen's template from writing in a default system prompt.
    /// Other reward models were trained on what their template makes of the messages given; a bundle's manifest says
    /// which it is.
    pub system_marker: bool,
    /// The time that a template's `strftime_now` sees, in seconds since 1970, as UTC. Some templates (Llama 3.2) write
    /// today's date into the prompt, so a fixed time is what makes scores repeatable. Default: the machine's clock and
    /// time zone, as in `transformers`.
    pub now: Option<i64>,
    /// What the text of a special token stands for in the content of a conversation. Default:
    /// [`SpecialTokenHandling::Parse`].
    pub special_tokens: SpecialTokenHandling,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            system_marker: true,
            now: None,
            special_tokens: SpecialTokenHandling::default(),
        }
    }
}

impl TextOptions {
    /// Sets [`TextOptions::system_marker`].
    #[must_use]
    pub fn with_system_marker(mut self, system_marker: bool) -> Self {
        self.system_marker = system_marker;
        self
    }

    /// Sets [`TextOptions::now`].
    #[must_use]
    pub fn with_now(mut self, now: Option<i64>) -> Self {
        self.now = now;
        self
    }

    /// Sets [`TextOptions::special_tokens`].
    #[must_use]
    pub fn with_special_tokens(mut self, handling: SpecialTokenHandling) -> Self {
        self.special_tokens = handling;
        self
    }
}
