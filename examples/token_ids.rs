//! Prints the token ids of conversations: the part of `make measure-trained` that compares tokens.
//!
//! Each line of standard input is a JSON array of messages, each line of standard output the JSON array of its ids.
//! A conversation without a system message gets what the template gives it.
//!
//! ```text
//! cargo run --release --example token_ids -- CHECKPOINT < conversations.jsonl
//! ```

use std::{
    env,
    io::{self, BufRead, Write},
};

use anyhow::{Context, Result};
use worldpm_ort::{
    Conversation,
    text::{ChatEncoder, TextOptions},
};

fn main() -> Result<()> {
    let checkpoint = env::args().nth(1).context("usage: token_ids CHECKPOINT")?;
    let options = TextOptions::default().with_system_marker(false);
    let encoder = ChatEncoder::open_with(checkpoint, options)?;
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let conversation: serde_json::Value = serde_json::from_str(&line?)?;
        let ids = encoder.conversation_ids(&Conversation::from_value(conversation)?)?;
        writeln!(output, "{}", serde_json::to_string(&ids)?)?;
    }
    Ok(())
}
