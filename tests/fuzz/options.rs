//! Options of the command line, with values that they may and may not have.

use std::path::Path;

use fastrand::Rng;

use crate::{
    child::run,
    inputs::{RECORDS, Tried, copy, owned},
    seed::Seed,
};

/// Options that take a value, by command. What is written stays in the case's folder.
const OPTIONS: [(&[&str], &[&str]); 6] = [
    (
        &["score", "--model", "b"],
        &[
            "--device",
            "--threads",
            "--pin-threads",
            "--replicas",
            "--residency",
            "--memory",
            "--max-batch-tokens",
            "--max-length",
            "--truncation",
            "--keep-going",
            "--reduce",
            "--ep-option",
            "--ep-library",
            "--weights-dir",
            "--ort-lib",
            "--output",
            "--input",
        ],
    ),
    (
        &["export", "--checkpoint", "ck", "--out", "out"],
        &[
            "--precision",
            "--stages",
            "--device",
            "--target",
            "--interface",
            "--layout",
            "--model-name",
            "--max-request-rows",
            "--max-row-tokens",
            "--storage-uri",
            "--weights",
            "--threads",
            "--device-memory",
            "--block-size",
            "--asymmetric",
            "--keep",
            "--overflow",
            "--end-token",
            "--step-token",
            "--pad-token-id",
            "--pooling",
            "--probes",
            "--system-marker",
            "--adapter",
            "--recipe",
            "--revision",
            "--max-batch-tokens",
            "--checksum",
            "--ort-lib",
        ],
    ),
    (&["inspect", "b"], &["--json", "--weights-dir", "--nodes"]),
    (
        &["plan", "--model", "b"],
        &[
            "--gpus",
            "--device-memory",
            "--tokens",
            "--price-per-hour",
            "--mean-tokens",
            "--max-batch-tokens",
            "--efficiency",
            "--bandwidth-efficiency",
            "--link",
            "--link-latency",
            "--stages",
            "--simulate",
            "--packs",
            "--pack-spread",
            "--stage-ms",
            "--stage-devices",
            "--json",
            "--recipe",
            "--shape",
        ],
    ),
    (
        &["verify", "--model", "b"],
        &[
            "--against",
            "--data",
            "--tolerance",
            "--memory",
            "--threads",
            "--device",
            "--checkpoint",
            "--adapter",
            "--checksum",
            "--recipe",
            "--record",
            "--residency",
            "--json",
        ],
    ),
    (&["doctor"], &["--model", "--ort-lib", "--json"]),
];

const VALUES: [&str; 40] = [
    "",
    "0",
    "-1",
    "1",
    "2",
    "3",
    "1.5",
    "-0",
    "nan",
    "inf",
    "1e400",
    "18446744073709551616",
    "999999999999",
    "auto",
    "on",
    "off",
    "cpu",
    "cpu,cpu",
    "cpu,,cpu",
    "cuda:0",
    "cuda:99",
    "tensorrt:0",
    "plugin:x:1",
    "8GiB",
    "300MB",
    "1B",
    "99999TiB",
    "-1GiB",
    "8G",
    "h100:3",
    "a,b,c",
    "last",
    "resident",
    "streamed",
    "b",
    "ck",
    "nowhere",
    "b/manifest.json",
    "🙂",
    "{\"a\": 1}",
];

pub(crate) fn options(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    copy(&seed.checkpoint(), &place.join("ck"));
    copy(&seed.bundle(), &place.join("b"));
    let (begin, options) = OPTIONS[rng.usize(..OPTIONS.len())];
    let mut args = owned(begin);
    for _ in 0..rng.usize(1..4) {
        args.push(options[rng.usize(..options.len())].to_owned());
        if rng.u8(..8) > 0 {
            args.push(VALUES[rng.usize(..VALUES.len())].to_owned());
        }
    }
    let ended = run(place, &args, &[], RECORDS)?;
    if ended.code != 0 && ended.is_silent() {
        return Err(format!(
            "{}: status {} and not a word",
            args.join(" "),
            ended.code
        ));
    }
    Ok(())
}
