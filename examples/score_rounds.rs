//! Keeps a bundle loaded and scores what it is given, round by round: the part of `make bench` that runs
//! this project.
//!
//! Each line of standard input is a JSON array of conversations (arrays of messages); each is answered by
//! one JSON line: `{"seconds", "scores", "real_tokens", "unique_tokens", "padded_cells", "packs"}`.
//!
//! ```text
//! cargo run --release --example score_rounds -- BUNDLE [THREADS [highest|high|medium|onnxruntime]]
//! ```

use std::{
    env,
    io::{self, BufRead, Write},
    time::Instant,
};

use anyhow::{Context, Result};
use serde_json::json;
use worldpm_ort::{Conversation, Scorer, ScorerOptions};

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let bundle = args
        .next()
        .context("usage: score_rounds BUNDLE [THREADS [MATMUL]]")?;
    let mut options = ScorerOptions::default();
    if let Some(threads) = args.next() {
        options = options.with_threads(threads.parse().context("THREADS")?);
    }
    match args.next().as_deref() {
        None => {}
        Some("onnxruntime") => options.kernels = false,
        Some(precision) => {
            options.matmul_precision = precision.parse().map_err(anyhow::Error::msg)?;
        }
    }
    worldpm_ort::engine::return_large_blocks();
    let scorer = Scorer::open(bundle.as_ref(), &options)?;

    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let conversations: Vec<serde_json::Value> = serde_json::from_str(&line?)?;
        let conversations = conversations
            .into_iter()
            .map(Conversation::from_value)
            .collect::<Result<Vec<_>, _>>()?;

        let started = Instant::now();
        let batch = scorer.submit(&conversations);
        let (rewards, stats) = batch.wait_with_work();
        let scores = rewards.into_iter().map(|reward| reward?.score());
        let scores = scores.collect::<Result<Vec<_>, _>>()?;
        let seconds = started.elapsed().as_secs_f64();

        let answer = json!({
            "seconds": seconds,
            "scores": scores.iter().map(|score| score.score).collect::<Vec<_>>(),
            "real_tokens": stats.tokens,
            "unique_tokens": stats.unique_tokens,
            "padded_cells": stats.padded_cells,
            "packs": stats.packs,
        });
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}
