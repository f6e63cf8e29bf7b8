//! `score --endpoint`: servers in place of a model.

use std::{net::TcpListener, process::Output, time::Duration};

use serde_json::json;
use worldpm_ort::remote::{RemoteError, RemoteOptions, RemoteScorer};
use worldpm_ort::{Conversation, ScorerOptions, queue::QueueOptions};
use worldpm_ort_runtime::testing::FakeOptions;

use crate::{
    served::{Served, bundle, fake, local, real},
    support,
};

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn records() -> String {
    let mut lines = vec![
        json!({"id": 1.5, "prompt": "q", "chosen": "a", "rejected": "b"}).to_string(),
        "{\"prompt\": 1}".to_owned(),
        "[]".to_owned(),
        json!({"id": "long", "messages": [
            {"role": "user", "content": "x ".repeat(40_000)}, {"role": "assistant", "content": "a"}
        ]})
        .to_string(),
    ];
    for index in 0..300 {
        lines.push(
            json!({"id": index, "prompt": "Why?", "response": format!("Since {index}.")})
                .to_string(),
        );
    }
    lines.join("\n")
}

fn score(args: &[&str], input: &str) -> Output {
    support::run_with_input(&[&["score"], args].concat(), input.as_bytes())
}

#[test]
fn the_output_is_that_of_a_model_in_the_process() {
    let (first, second) = (Served::of(real("pm")), Served::of(real("pm")));
    let model = bundle();
    let expected = score(
        &["--keep-going", "--model", model.to_str().unwrap()],
        &records(),
    );
    let endpoints = format!("{},{},{}", first.address, nobody(), second.address);
    let args = [
        "--keep-going",
        "--endpoint",
        &endpoints,
        "--request-conversations",
        "7",
    ];
    let got = score(&args, &records());
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(
        text(&got),
        text(&expected),
        "{}",
        String::from_utf8_lossy(&got.stderr)
    );
    assert_eq!(got.status.code(), Some(1));
    assert_eq!(text(&got).lines().count(), 304);
    // Both had their part.
    for served in [&first, &second] {
        assert!(
            served.planned().conversations > 30,
            "{:?}",
            served.planned()
        );
    }
}

#[test]
fn candidates_have_the_same_answers() {
    let served = Served::of(real("pm"));
    let model = bundle();
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let records = [
        json!({"prompt": "q", "responses": ["a"]}),
        json!({"id": 1, "prompt": "q", "responses": ["a", "b"]}),
        json!({"prompt": [message("user", "q")], "responses": ["a", "b", "c"], "system": "s"}),
        json!({"prompt": "q", "chosen": ["a"], "rejected": ["b"]}),
        json!({"prompt": "q", "chosen": ["a", "c"], "rejected": ["b", "d"]}),
        json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
        json!({"prompt": "q", "responses": ["a", "x ".repeat(40_000)]}),
    ];
    let input = records.map(|record| record.to_string()).join("\n");
    let model = model.to_str().unwrap();
    let expected = score(&["--keep-going", "--model", model], &input);
    let got = score(&["--keep-going", "--endpoint", &served.address], &input);
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text(&got), text(&expected), "{}", support::stderr(&got));
    assert_eq!(text(&got).lines().count(), 7);
    assert!(
        text(&got).contains("\"error\":\"candidates[1]: "),
        "{}",
        text(&got)
    );
}

#[test]
fn candidates_are_ranked_the_same() {
    let served = Served::of(real("pm"));
    let model = bundle();
    let model = model.to_str().unwrap();
    let candidates = [
        json!({"id": 1, "prompt": "q", "responses": ["a", "b", "c"]}),
        json!({"prompt": "q", "responses": ["a"]}),
        json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
        json!({"prompt": "q", "chosen": ["a", "c"], "rejected": ["b", "d"]}),
        json!({"prompt": "q", "responses": ["a", "x ".repeat(40_000)]}),
        json!({"prompt": "q"}),
    ];
    let of_key = |key: usize, answer: &str| json!({"key": key, "prompt": "q", "response": answer});
    // Groups of one, two and three, and one that cannot be scored.
    let long = "x ".repeat(40_000);
    let rows = [
        of_key(1, "a"),
        of_key(2, "a"),
        of_key(2, "b"),
        of_key(3, "a"),
        of_key(3, "b"),
        of_key(3, "c"),
        of_key(4, "a"),
        of_key(4, &long),
        of_key(5, &long),
    ];
    let group = ["--group-by", "key"];
    for (records, flags) in [
        (&candidates[..], &[][..]),
        (&candidates, &["--pairs", "all"]),
        (&candidates, &["--best"]),
        (&rows, &group),
        (&rows, &["--group-by", "key", "--pairs", "best-worst"]),
    ] {
        let input: Vec<_> = records.iter().map(ToString::to_string).collect();
        let input = input.join("\n");
        let rank = |from: &[&str]| {
            let args = [&["rank", "--keep-going"], from, flags].concat();
            support::run_with_input(&args, input.as_bytes())
        };
        let (expected, got) = (
            rank(&["--model", model]),
            rank(&["--endpoint", &served.address]),
        );
        let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(
            text(&got),
            text(&expected),
            "{flags:?}: {}",
            support::stderr(&got)
        );
        assert_eq!(got.status.code(), Some(1), "{flags:?}");
        assert!(
            text(&got).contains("\"error\":\"candidates["),
            "{}",
            text(&got)
        );
    }
    let both = [
        "rank",
        "--endpoint",
        &served.address,
        "--truncation",
        "refuse",
    ];
    assert_eq!(support::run(&both).status.code(), Some(2));
}

#[test]
fn a_busy_server_is_asked_again() {
    let mut options = ScorerOptions::default();
    options.queue = QueueOptions::default().with_max_conversations(8);
    let slow = FakeOptions::default().with_stages(vec![Duration::from_millis(5)]);
    let served = Served::of(fake("pm", slow, options));
    let mut options =
        RemoteOptions::new([&served.address]).with_longest_wait(Duration::from_millis(20));
    options.conversations = 4.try_into().unwrap();
    let scorer = RemoteScorer::new(options.with_retries(1000)).unwrap();
    let conversation = |index| Conversation::exchange("q", format!("answer {index}"));
    let items = (0..200).map(|index| (index, vec![conversation(index)]));
    let answers: Vec<_> = scorer
        .stream(items)
        .map(|answered| answered.unwrap())
        .collect();
    for (expected, (index, answer)) in answers.iter().enumerate() {
        assert_eq!(*index, expected);
        assert!(answer.as_ref().unwrap().is_ok());
    }
    assert_eq!(answers.len(), 200);
}

#[test]
fn a_request_that_is_too_large_is_sent_in_parts() {
    let mut options = local();
    options.max_request_conversations = 3;
    let served = Served::start(options, vec![real("pm")]);
    let scorer = RemoteScorer::new(RemoteOptions::new([&served.address])).unwrap();
    let items = (0..20).map(|index| (index, vec![Conversation::exchange("q", index.to_string())]));
    let answers: Vec<_> = scorer
        .stream(items)
        .map(|answered| answered.unwrap())
        .collect();
    assert!(
        answers
            .iter()
            .all(|(_, answer)| answer.as_ref().unwrap().is_ok())
    );
    assert_eq!(answers.len(), 20);
}

#[test]
fn what_will_never_be_answered_ends_it() {
    let item = || [("only", vec![Conversation::exchange("q", "a")])];
    let error = |options: RemoteOptions| {
        let scorer = RemoteScorer::new(options).unwrap();
        let mut stream = scorer.stream(item());
        let error = stream.next().unwrap().unwrap_err();
        assert!(stream.next().is_none());
        error
    };
    let address = nobody();
    let options = RemoteOptions::new([&address])
        .with_retries(2)
        .with_longest_wait(Duration::from_millis(10));
    let RemoteError::NoAnswer {
        endpoint, tries, ..
    } = error(options)
    else {
        panic!();
    };
    assert_eq!((endpoint, tries), (address, 3));

    let served = Served::of(real("pm"));
    let other = RemoteOptions::new([&served.address]).with_model("other");
    let RemoteError::Refused {
        status: 404,
        message,
        ..
    } = error(other)
    else {
        panic!();
    };
    assert!(message.contains("there is pm"));
    for bad in ["", "127.0.0.1:8000", "ftp://x", "http://", "http://x/?a"] {
        let scorer = RemoteScorer::new(RemoteOptions::new([bad]));
        assert!(matches!(scorer, Err(RemoteError::Address { .. })), "{bad}");
    }
}

#[test]
fn a_job_may_be_scored_by_servers() {
    let served = Served::of(real("pm"));
    let folder = tempfile::tempdir().unwrap();
    let (input, job) = (folder.path().join("in.jsonl"), folder.path().join("job"));
    std::fs::write(&input, records()).unwrap();
    let (input, job) = (input.to_str().unwrap(), job.to_str().unwrap());
    let model = bundle();
    let args = ["--keep-going", "--input", input];
    let expected = score(
        &[&args[..], &["--model", model.to_str().unwrap()]].concat(),
        "",
    );
    let endpoint = [
        "--endpoint",
        &served.address,
        "--job",
        job,
        "--shard-records",
        "50",
    ];
    let args = [&args[..], &endpoint].concat();
    let got = score(&args, "");
    let problems = String::from_utf8_lossy(&got.stderr);
    assert!(got.stdout == expected.stdout, "{problems}");
    assert!(
        problems.contains("304 records: 301 scored, 3 with errors"),
        "{problems}"
    );
    let other = score(&[&args[..], &["--served-model", "pm"]].concat(), "");
    let problems = String::from_utf8_lossy(&other.stderr);
    assert!(
        problems.contains("model: name was the first of the servers, and now is pm"),
        "{problems}"
    );
}

#[test]
fn options_of_a_model_are_refused() {
    for option in [
        &["--model", "x"][..],
        &["--device", "cpu"],
        &["--max-length", "7"],
        &["--reduce", "min"],
    ] {
        let args = [&["--endpoint", "http://127.0.0.1:9"], option].concat();
        let output = score(&args, "");
        assert_eq!(output.status.code(), Some(2), "{option:?}");
    }
    let output = score(&[], "");
    let problem = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        problem.contains("--model") || problem.contains("--endpoint"),
        "{problem}"
    );
}
