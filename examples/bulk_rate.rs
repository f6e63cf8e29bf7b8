//! How fast a data set goes through all but the model: reading, layout, template, tokenizer, planner and writer, on an engine
//! that passes no time. And how fast the `tokenizers` crate is by itself, on the texts of the same records, in the same run.
//!
//!     cargo run --release --example bulk_rate -- --bundle DIR --records 1000000 --output scored.parquet
//!
//! Without `--input` it makes short records of up to sixty words, as JSON Lines; `--input` takes whatever `score` reads, so a
//! first run with `--output x.parquet` makes a Parquet file for a second. A line for each tenth says the rate and the memory.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use clap::Parser;
use serde_json::json;
use tokenizers::Tokenizer;
use worldpm_ort::{
    Conversation, Scorer, ScorerOptions,
    answers::{Answer, Outcome},
    records::Entry,
    text::ChatEncoder,
};
use worldpm_ort_data::{DataSet, Files, Format, ReadOptions, WriteOptions, Writer};
use worldpm_ort_runtime::testing::{FakeEngine, FakeOptions};

/// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Texts that the tokenizer is given by itself.
const SAMPLE: usize = 100_000;

#[derive(Parser)]
struct Args {
    /// A bundle, for its text files
    #[arg(long)]
    bundle: PathBuf,
    /// A data set; made up without
    #[arg(long)]
    input: Option<PathBuf>,
    /// How many records are made up
    #[arg(long, default_value_t = 1_000_000)]
    records: usize,
    /// Where the scored data set goes; its name says its format
    #[arg(long)]
    output: PathBuf,
}

fn main() {
    let args = Args::parse();
    let input = args.input.clone().unwrap_or_else(|| {
        let input = args.output.with_extension("made-up.jsonl");
        make_up(&input, args.records);
        input
    });
    let tokenizer = tokenizer_alone(&args.bundle, &input);
    println!("tokenizers by itself: {tokenizer:.0} conversations a second");
    let (records, seconds, tokenising) = run(&args, &input);
    let rate = records as f64 / seconds;
    println!("{records} records in {seconds:.1} s: {rate:.0} a second");
    println!(
        "in templates and tokenizer: {:.0}% of the time, there {:.0} a second",
        100.0 * tokenising / seconds,
        records as f64 / tokenising
    );
    println!(
        "rate to that of tokenizers by itself: {:.2}",
        rate / tokenizer
    );
}

fn make_up(path: &Path, records: usize) {
    let mut rng = fastrand::Rng::with_seed(7);
    let words = "the of and model answer question what why river water table because number light first second under \
                 small large little green never always think example reason simple result would could about people \
                 world make time year good people city history music science computer program function value";
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut text = |most: usize| -> String {
        let count = rng.usize(3..most);
        let all = (0..count).map(|_| words[rng.usize(..words.len())]);
        all.collect::<Vec<_>>().join(" ")
    };
    let mut file = BufWriter::new(File::create(path).unwrap());
    for number in 0..records {
        let record =
            json!({"id": number, "prompt": text(20), "response": text(40), "source": "made up"});
        writeln!(file, "{record}").unwrap();
    }
    file.flush().unwrap();
}

/// The records of an input with their conversations, and what they are given back with.
fn rows(input: &Path) -> (worldpm_ort_data::Rows, Writer, BufWriter<File>) {
    let mut options = ReadOptions::default();
    options.keep_fields = true;
    let set = DataSet::open(Files::find(&[input.to_owned()]).unwrap(), &options).unwrap();
    let output = Args::parse().output;
    let (format, compression) = Format::of_name(&output);
    let mut options = WriteOptions::new(format.unwrap());
    options.compression = compression;
    options.overwrite = true;
    let writer = Writer::new(&options, &set).unwrap();
    (
        set.rows(|_| ()),
        writer,
        BufWriter::new(File::create(output).unwrap()),
    )
}

fn tokenizer_alone(bundle: &Path, input: &Path) -> f64 {
    let encoder = ChatEncoder::open(bundle).unwrap();
    let (rows, ..) = rows(input);
    let texts: Vec<String> = rows
        .take(SAMPLE)
        .flat_map(|row| Entry::prepare(row.read, false).1)
        .map(|one: Conversation| encoder.render(&one).unwrap())
        .collect();
    let tokenizer = Tokenizer::from_file(bundle.join("tokenizer.json")).unwrap();
    // Once to warm its cache up, and once for the clock.
    let encode = || tokenizer.encode_batch_fast(texts.clone(), false).unwrap();
    encode();
    let begun = Instant::now();
    let encoded = encode();
    encoded.len() as f64 / begun.elapsed().as_secs_f64()
}

/// Records, seconds, and seconds of them in templates and tokenizer.
fn run(args: &Args, input: &Path) -> (usize, f64, f64) {
    let engine = FakeEngine::start(FakeOptions::default()).unwrap();
    let options = ScorerOptions::default();
    let scorer = Scorer::open_with_engine(&args.bundle, &options, Arc::new(engine)).unwrap();
    let (rows, mut writer, mut output) = rows(input);
    let bytes = fs::metadata(input).unwrap().len();
    let begun = Instant::now();
    let items = rows.map(|row| {
        let (entry, conversations) = Entry::prepare(row.read, false);
        ((entry, row.columns), conversations)
    });
    let mut records = 0;
    let tenth = (args.records / 10).max(1);
    for ((entry, columns), rewards) in scorer.stream(items) {
        let reward = entry.reward(rewards).unwrap();
        let outcome = Outcome::Answer(Answer::from(&reward));
        writer.write(columns, entry.id.as_ref(), outcome).unwrap();
        output.write_all(&writer.take()).unwrap();
        records += 1;
        if records % tenth == 0 {
            let rate = records as f64 / begun.elapsed().as_secs_f64();
            println!(
                "{records} records, {rate:.0} a second, {} MB",
                resident() >> 20
            );
        }
    }
    writer.close().unwrap();
    output.write_all(&writer.take()).unwrap();
    output.flush().unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} MB read", bytes >> 20);
    (records, seconds, scorer.counters().tokenising.as_secs_f64())
}

/// Bytes of memory of this process.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() << 10
}
