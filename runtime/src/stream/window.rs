//! How much of a stream is taken at a time.

use crate::{json::Json, text::Conversation};

/// Conversations in a window: enough for the planner to find shared beginnings and like lengths.
const CONVERSATIONS: usize = 512;

/// Bytes in a window, so that windows of very long conversations stay small.
const BYTES: usize = 4 << 20;

/// Items and conversations in the window of a streamed model, however short they are.
const MOST: usize = 1 << 16;

/// What an item or a conversation counts at least: there is more to it than its text, and an item that could not be read
/// has none.
const LEAST_BYTES: usize = 64;

/// Bytes that a computed token stands for where nothing is known yet. Chat templates add tokens and shared beginnings take
/// them away.
const BYTES_PER_TOKEN: f64 = 4.0;

/// What is believed of it: a few conversations that are all alike should not make the next window endless.
const BELIEVED: (f64, f64) = (2.0, 64.0);

/// How much of a wave a window fills. What is over would be a wave of its own, for which all weights are read.
const SHARE_OF_WAVE: f64 = 15.0 / 16.0;

/// Limits of windows.
#[derive(Debug)]
pub(super) struct Windows {
    /// Unique tokens of a wave, for a model that is streamed: the weights are read anew for every window, so a window is as
    /// much as a wave holds.
    wave: Option<usize>,
    /// Bytes and unique tokens of the conversations so far.
    bytes: usize,
    tokens: usize,
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filled {
    items: usize,
    conversations: usize,
    bytes: usize,
    /// Those of the conversations.
    in_conversations: usize,
}

impl Windows {
    pub(super) fn new(wave: Option<usize>) -> Self {
        Self {
            wave,
            bytes: 0,
            tokens: 0,
        }
    }

    /// Whether their size depends on what earlier ones came to.
    pub(super) fn are_learned(&self) -> bool {
        self.wave.is_some()
    }

    /// Whether another item goes into a window that holds so much.
    pub(super) fn has_room_after(&self, filled: &Filled) -> bool {
        let (most, bytes) = match self.wave {
            Some(tokens) => (MOST, self.bytes_of(tokens)),
            None => (CONVERSATIONS, BYTES),
        };
        filled.conversations < most && filled.items < most && filled.bytes < bytes
    }

    /// Notes how many unique tokens a window came to.
    pub(super) fn learn(&mut self, filled: &Filled, tokens: usize) {
        self.bytes = self.bytes.saturating_add(filled.in_conversations);
        self.tokens = self.tokens.saturating_add(tokens);
    }

    fn bytes_of(&self, tokens: usize) -> usize {
        let seen = match self.tokens {
            0 => BYTES_PER_TOKEN,
            tokens => self.bytes as f64 / tokens as f64,
        };
        let bytes = tokens as f64 * SHARE_OF_WAVE * seen.clamp(BELIEVED.0, BELIEVED.1);
        // A window takes one item at least.
        (bytes as usize).max(1)
    }
}

impl Filled {
    /// Counts an item with these conversations.
    pub(super) fn add(&mut self, conversations: &[Conversation]) {
        let bytes = conversations.iter().map(size).sum::<usize>();
        self.items += 1;
        self.conversations += conversations.len();
        self.bytes += bytes.max(LEAST_BYTES);
        self.in_conversations += bytes;
    }
}

/// Bytes of a conversation, which stand for its tokens before it is tokenised.
fn size(conversation: &Conversation) -> usize {
    let messages = conversation.messages.iter();
    let fields = messages.flat_map(|message| message.fields().values());
    let tools = conversation.tools.iter().flatten();
    fields
        .chain(tools)
        .map(text_bytes)
        .sum::<usize>()
        .max(LEAST_BYTES)
}

/// Bytes of a value as text, about.
fn text_bytes(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => 4,
        Json::String(text) => text.len(),
        Json::Array(values) => values.iter().map(text_bytes).sum(),
        Json::Object(fields) => {
            let field = |(name, value): (&String, &Json)| name.len() + text_bytes(value);
            fields.iter().map(field).sum()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::text::Message;

    fn conversation(bytes: usize) -> Conversation {
        // The role counts four.
        Conversation::new(vec![Message::new("user", "x".repeat(bytes - 4))])
    }

    /// How many items of these conversations a window takes.
    fn taken(windows: &Windows, item: &[Conversation]) -> (usize, Filled) {
        let mut filled = Filled::default();
        let mut items = 0;
        while windows.has_room_after(&filled) {
            filled.add(item);
            items += 1;
        }
        (items, filled)
    }

    #[test]
    fn a_window_is_bounded_whatever_it_holds() {
        let loaded = Windows::new(None);
        let wave = Windows::new(Some(1 << 20));
        let pair = [conversation(100), conversation(100)];
        for (item, of_loaded, of_wave) in [
            (&[][..], 512, (15 << 18) / 64),
            (&pair[..1], 512, (15_usize << 18).div_ceil(100)),
            (&pair[..], 256, (15_usize << 18).div_ceil(200)),
            (&[conversation(1 << 20)], 4, 4),
        ] {
            assert_eq!(taken(&loaded, item).0, of_loaded);
            assert_eq!(taken(&wave, item).0, of_wave);
        }
        // However large a wave is.
        let endless = Windows::new(Some(usize::MAX));
        assert_eq!(taken(&endless, &[]).0, 1 << 16);
        assert_eq!(taken(&endless, &pair).0, 1 << 15);
        // And however small.
        assert_eq!(taken(&Windows::new(Some(0)), &pair).0, 1);
    }

    #[test]
    fn windows_grow_to_what_a_wave_holds() {
        let wave = 10_000;
        for (per_token, least, most) in [
            // Prompts that are shared: eight bytes of text to a token that is computed.
            (8, 9_000, 10_000),
            (4, 9_000, 10_000),
            (3, 9_000, 10_000),
            // More than is believed.
            (128, 4_600, 4_700),
            // A token has a byte at least, and a window overflows then.
            (1, 18_000, 19_000),
        ] {
            let mut windows = Windows::new(Some(wave));
            let mut tokens = 0;
            for _ in 0..3 {
                let (_, filled) = taken(&windows, &[conversation(100)]);
                tokens = filled.bytes / per_token;
                windows.learn(&filled, tokens);
            }
            assert!((least..=most).contains(&tokens), "{per_token}: {tokens}");
        }
    }

    #[test]
    fn what_was_not_scored_teaches_nothing() {
        let mut windows = Windows::new(Some(10_000));
        let (before, unread) = taken(&windows, &[]);
        windows.learn(&unread, 0);
        assert_eq!(taken(&windows, &[]).0, before);
        let (_, scored) = taken(&windows, &[conversation(100)]);
        windows.learn(&scored, scored.bytes / 4);
        assert_eq!(taken(&windows, &[]).0, before);
    }

    #[test]
    fn all_that_a_template_reads_is_counted() {
        let call = json!({"name": "f", "arguments": {"x": "1234567890".repeat(10)}});
        let mut value = json!({
            "messages": [
                {"role": "user", "content": "u".repeat(100)},
                {"role": "assistant", "content": null, "tool_calls": [call]},
                {"role": "assistant", "content": ["s".repeat(100), "t".repeat(100)]},
            ],
        });
        let count = |value: &Value| size(&Conversation::from_value(value.clone()).unwrap());
        let without = count(&value);
        assert_eq!(without, 4 + 100 + 9 + 4 + 15 + 100 + 9 + 200);
        value["tools"] = json!([{"description": "d".repeat(1000)}]);
        assert_eq!(count(&value), without + 1011);
        assert_eq!(count(&json!([{"role": "user", "content": "?"}])), 64);
    }
}
