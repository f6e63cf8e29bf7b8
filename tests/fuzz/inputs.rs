//! Inputs of each parser: a small one with something spoiled, and the commands that read it.

use std::{fs, path::Path};

use fastrand::Rng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    child::{Ended, run},
    mutate,
    seed::{Seed, WEIGHTS, split},
    support::{copy_files, read_json},
};

pub(crate) const RECORDS: &[u8] = br#"{"id": 1, "prompt": "Why?", "response": "Because."}
{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
{"prompt": [{"role": "user", "content": "x"}], "chosen": [{"role": "assistant", "content": "y"}], "rejected": [{"role": "assistant", "content": "n"}], "extra": {"n": [1.5, null]}}
"#;

pub(crate) type Tried = Result<(), String>;

pub(crate) fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}

fn command(place: &Path, args: &[&str], input: &[u8]) -> Result<Ended, String> {
    run(place, &owned(args), &[], input)
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    copy_files(from, to);
}

const EXPORT: [&str; 7] = [
    "export",
    "--checkpoint",
    "ck",
    "--out",
    "out",
    "--probes",
    "off",
];

/// Scores are numbers, and one for each record.
fn check_scores(ended: &Ended) -> Tried {
    for line in ended
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        serde_json::from_slice::<Value>(line)
            .map_err(|error| format!("a result is no JSON: {error}"))?;
        let text = String::from_utf8_lossy(line);
        if text.contains("NaN") || text.contains("\"score\":null,\"error\":null") {
            return Err(format!("a result without a number: {text}"));
        }
    }
    Ok(())
}

/// Exports the checkpoint `ck`, and scores with what comes of it.
fn export_and_score(place: &Path, more: &[&str]) -> Result<bool, String> {
    let ended = command(place, &[&EXPORT, more].concat(), b"")?;
    if ended.code != 0 {
        return match place.join("out").exists() {
            true => Err(format!(
                "an export that failed has left a bundle: {}",
                ended.stderr
            )),
            false => Ok(false),
        };
    }
    let ended = command(place, &["score", "--model", "out"], RECORDS)?;
    check_scores(&ended)?;
    Ok(ended.code == 0)
}

/// With nothing spoiled, all of it works.
pub(crate) fn whole(_: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    let works = |worked: bool, what: &str| match worked {
        true => Ok(()),
        false => Err(format!(
            "{what} failed: {}",
            fs::read_to_string(place.join("stderr")).unwrap()
        )),
    };
    copy(&seed.checkpoint(), &place.join("ck"));
    copy(&seed.adapter(), &place.join("adapter"));
    copy(&seed.bundle(), &place.join("b"));
    works(export_and_score(place, &[])?, "the checkpoint")?;
    fs::remove_dir_all(place.join("out")).unwrap();
    works(
        export_and_score(place, &["--adapter", "adapter"])?,
        "the adapter",
    )?;
    for command in [
        &["inspect", "b"][..],
        &["verify", "--model", "b"],
        &["plan", "--model", "b", "--device-memory", "8GiB"],
    ] {
        let ended = self::command(place, command, b"")?;
        works(ended.code == 0, command[0])?;
    }
    Ok(())
}

/// Spoils the JSON file `name` of a folder.
fn spoil_json(rng: &mut Rng, path: &Path) {
    let value = read_json(path);
    fs::write(path, mutate::json(rng, &value)).unwrap();
}

fn read_bundle(rng: &mut Rng, place: &Path) -> Tried {
    let commands = [
        &["score", "--model", "b"][..],
        &["inspect", "b"],
        &["verify", "--model", "b"],
        &["plan", "--model", "b", "--device-memory", "8GiB"],
    ];
    let ended = command(place, commands[rng.usize(..commands.len())], RECORDS)?;
    let told = ["error", "failed"]
        .iter()
        .any(|word| ended.stderr.contains(word));
    // `verify` reports on standard output which probes failed, beside what it says of the model; other reports stand alone.
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let alone = ended.stderr.trim().is_empty() && !ended.is_silent();
    let reported = alone || stdout.contains("FAILED");
    if ended.code != 0 && !told && !reported {
        return Err(format!(
            "status {} without an error: {}",
            ended.code, ended.stderr
        ));
    }
    Ok(())
}

pub(crate) fn manifest(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    copy(&seed.bundle(), &place.join("b"));
    spoil_json(rng, &place.join("b/manifest.json"));
    read_bundle(rng, place)
}

pub(crate) fn probes(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    copy(&seed.bundle(), &place.join("b"));
    spoil_json(rng, &place.join("b/probes.json"));
    command(place, &["verify", "--model", "b"], b"").map(drop)
}

/// Spoils a graph and puts its hash right, and has it read by what does not run it.
pub(crate) fn graph(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    copy(&seed.bundle(), &place.join("b"));
    let path = place.join("b/stage-00.onnx");
    let bytes = mutate::bytes(rng, &fs::read(&path).unwrap());
    fs::write(&path, &bytes).unwrap();
    let path = place.join("b/manifest.json");
    let mut manifest = read_json(&path);
    let hash: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    manifest["stages"][0]["bytes"] = json!(bytes.len());
    manifest["stages"][0]["sha256"] = json!(hash);
    fs::write(path, manifest.to_string()).unwrap();
    let commands = [
        &["inspect", "b"][..],
        &["plan", "--model", "b", "--device-memory", "8GiB"],
    ];
    command(place, commands[rng.usize(..commands.len())], b"").map(drop)
}

pub(crate) fn header(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    copy(&seed.checkpoint(), &place.join("ck"));
    let path = place.join("ck").join(WEIGHTS);
    let bytes = fs::read(&path).unwrap();
    let (header, data) = split(&bytes);
    let header = match rng.bool() {
        true => mutate::json(rng, &header),
        false => header.to_string().into_bytes(),
    };
    let length = match rng.u8(..6) {
        0 => [0, 1, u64::MAX, 1 << 40, 100_000_001][rng.usize(..5)],
        _ => header.len() as u64,
    };
    let mut bytes = [&length.to_le_bytes(), header.as_slice(), data].concat();
    if rng.u8(..3) == 0 {
        bytes = mutate::bytes(rng, &bytes);
    }
    fs::write(&path, bytes).unwrap();
    export_and_score(place, &[]).map(drop)
}

pub(crate) fn index(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    let folder = place.join("ck");
    copy(&seed.checkpoint(), &folder);
    let shard = "model-00001-of-00001.safetensors";
    fs::rename(folder.join(WEIGHTS), folder.join(shard)).unwrap();
    let bytes = fs::read(folder.join(shard)).unwrap();
    let (header, data) = split(&bytes);
    let names = header.as_object().unwrap().keys();
    let map: serde_json::Map<String, Value> =
        names.map(|name| (name.clone(), json!(shard))).collect();
    let index = json!({"metadata": {"total_size": data.len()}, "weight_map": map});
    let path = folder.join("model.safetensors.index.json");
    fs::write(path, mutate::json(rng, &index)).unwrap();
    export_and_score(place, &[]).map(drop)
}

pub(crate) fn config(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    copy(&seed.checkpoint(), &place.join("ck"));
    spoil_json(rng, &place.join("ck/config.json"));
    export_and_score(place, &[]).map(drop)
}

pub(crate) fn tokenizer(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    copy(&seed.checkpoint(), &place.join("ck"));
    let name = ["tokenizer.json", "tokenizer_config.json"][rng.usize(..2)];
    spoil_json(rng, &place.join("ck").join(name));
    export_and_score(place, &[]).map(drop)
}

/// Parts of templates, good and bad, of which some want to go on for ever.
const PARTS: [&str; 44] = [
    "{% for m in messages %}{{ m.role ~ m.content }}{% endfor %}",
    "{{ messages }}",
    "{{ messages|tojson(indent=2) }}",
    "{{ messages[0:999999999:2] }}",
    "{{ messages|map(attribute='role')|join(', ') }}",
    "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}",
    "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "{% macro f(x) %}{% if x > 0 %}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(100000) }}",
    "{% set ns = namespace(a=1) %}{% set ns.a = ns %}{{ ns }}",
    "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    "{% for i in range(1000000000) %}{% endfor %}",
    "{% for i in range(100000) %}{% for j in range(100000) %}{{ i }}{% endfor %}{% endfor %}",
    "{{ 'x' * 1000000000 }}",
    "{{ [0] * 1000000000 }}",
    "{{ range(1000000000)|list|length }}",
    "{{ 10 ** 100000 }}",
    "{{ 1 // 0 }}",
    "{{ 9223372036854775807 + 1 }}",
    "{{ 'a'.replace('', 'b' * 100000) }}",
    "{{ ('a' * 100000).split('a')|length }}",
    "{{ 'x'.center(1000000000) }}",
    "{{ '%s %d' % ('a', 1) }}",
    "{{ '{:>1000000000}'.format(1) }}",
    "{{ 'é'.title() ~ 'a b'.capitalize() ~ ' a '.strip() }}",
    "{{ strftime_now('%c %x %Y %% %') }}",
    "{{ raise_exception('no') }}",
    "{{ none.a.b }}",
    "{{ x.y }}",
    "{{ loop.index }}",
    "{{ messages|sort|unique|reverse|first }}",
    "{{ {'a': 1}.items()|list }}",
    "{{ messages|batch(0)|list }}",
    "{{ messages|slice(1000000000)|list }}",
    "{% if messages[0]['role'] == 'system' %}a{% else %}b{% endif %}",
    "{% generation %}x{% endgeneration %}",
    "{% raw %}{{ }}{% endraw %}",
    "{% include 'a' %}",
    "{% extends 'a' %}",
    "{% block a %}{{ self.a() }}{% endblock %}",
    "{% set x %}{{ x }}{% endset %}",
    "{% filter upper %}a{% endfilter %}",
    "{% break %}",
    "{# ",
    "{{ ",
];

fn drawn_template(rng: &mut Rng) -> Vec<u8> {
    let mut text: String = (0..rng.usize(1..5))
        .map(|_| PARTS[rng.usize(..PARTS.len())])
        .collect();
    match rng.u8(..8) {
        0 => text = format!("{{{{ 1{} }}}}", "~1".repeat(rng.usize(..30_000))),
        1 => {
            text = format!(
                "{{{{ {}1{} }}}}",
                "(".repeat(5000),
                ")".repeat(rng.usize(4990..5010))
            )
        }
        2 => text = "{% if 1 %}".repeat(rng.usize(1..5000)) + &text,
        3 => text = format!("{{% for m in messages %}}{text}{{% endfor %}}"),
        4 => return mutate::bytes(rng, text.as_bytes()),
        _ => {}
    }
    text.into_bytes()
}

pub(crate) fn template(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    copy(&seed.checkpoint(), &place.join("ck"));
    let path = place.join("ck/chat_template.jinja");
    let text = match rng.u8(..3) {
        0 => mutate::bytes(rng, &fs::read(&path).unwrap()),
        _ => drawn_template(rng),
    };
    fs::write(path, text).unwrap();
    export_and_score(place, &[]).map(drop)
}

pub(crate) fn adapter(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    copy(&seed.checkpoint(), &place.join("ck"));
    copy(&seed.adapter(), &place.join("adapter"));
    match rng.u8(..4) {
        0 => {
            let path = place.join("adapter/adapter_model.safetensors");
            let bytes = fs::read(&path).unwrap();
            let (header, data) = split(&bytes);
            let header = mutate::json(rng, &header);
            let length = (header.len() as u64).to_le_bytes();
            fs::write(&path, [&length, header.as_slice(), data].concat()).unwrap();
        }
        _ => spoil_json(rng, &place.join("adapter/adapter_config.json")),
    }
    export_and_score(place, &["--adapter", "adapter"]).map(drop)
}

pub(crate) fn records(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    copy(&seed.bundle(), &place.join("b"));
    let mut input = Vec::new();
    for line in RECORDS
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let value: Value = serde_json::from_slice(line).unwrap();
        input.extend(match rng.bool() {
            true => mutate::json(rng, &value),
            false => line.to_vec(),
        });
        input.push(b'\n');
    }
    if rng.u8(..4) == 0 {
        input = mutate::bytes(rng, &input);
    }
    let args = ["score", "--model", "b", "--keep-going"];
    check_scores(&command(place, &args[..rng.usize(3..5)], &input)?)
}

/// Pipes, devices, folders and links in the place of files.
pub(crate) fn special_file(rng: &mut Rng, seed: &Seed, place: &Path) -> Tried {
    copy(&seed.checkpoint(), &place.join("ck"));
    copy(&seed.adapter(), &place.join("adapter"));
    copy(&seed.bundle(), &place.join("b"));
    let folder = ["ck", "ck", "adapter", "b"][rng.usize(..4)];
    let mut names: Vec<String> = fs::read_dir(place.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.extend(
        [
            "model.safetensors.index.json",
            "generation_config.json",
            "special_tokens_map.json",
        ]
        .map(String::from),
    );
    names.sort();
    let name = &names[rng.usize(..names.len())];
    let what = mutate::special(rng, &place.join(folder).join(name));
    let outcome = match folder {
        "ck" => export_and_score(place, &[]).map(drop),
        "adapter" => export_and_score(place, &["--adapter", "adapter"]).map(drop),
        _ => read_bundle(rng, place),
    };
    outcome.map_err(|problem| format!("{what} as {folder}/{name}: {problem}"))
}
