use std::{error::Error as _, io, path::PathBuf, sync::Arc};

use super::*;
use crate::{
    Conversation,
    queue::QueueError,
    records::{Entry, RecordReader},
};

fn run(problem: &str) -> EngineError {
    EngineError::Run {
        stage: "stage-00.onnx".into(),
        device: "cuda:0".into(),
        problem: problem.into(),
    }
}

#[test]
fn every_error_has_the_kind_that_says_what_to_do() {
    let missing = io::Error::from(io::ErrorKind::NotFound);
    let conversation = Conversation::from_value(serde_json::json!([])).unwrap_err();
    for (error, kind) in [
        (
            Error::from(TextError::from(conversation)),
            ErrorKind::InvalidInput,
        ),
        (
            Error::Ending(EndingProblem::NoTokens),
            ErrorKind::InvalidInput,
        ),
        (
            Error::TooLong {
                tokens: 9,
                limit: 8,
            },
            ErrorKind::TooLong,
        ),
        (
            QueueError::Full {
                conversations: 1,
                tokens: 1,
            }
            .into(),
            ErrorKind::Overloaded,
        ),
        (
            QueueError::DeadlineExceeded.into(),
            ErrorKind::DeadlineExceeded,
        ),
        (QueueError::Cancelled.into(), ErrorKind::Cancelled),
        (
            EngineError::TimedOut(std::time::Duration::ZERO).into(),
            ErrorKind::DeadlineExceeded,
        ),
        (
            run("Failed to allocate memory for requested buffer of size 8").into(),
            ErrorKind::OutOfMemory,
        ),
        (
            run("CUDA failure 700: an illegal memory access was encountered ; GPU=0").into(),
            ErrorKind::DeviceLost,
        ),
        (run("bad shape").into(), ErrorKind::Internal),
        (
            Error::Bundle {
                path: PathBuf::from("b"),
                problem: BundleProblem::CannotOpen(missing.into()),
            },
            ErrorKind::DamagedBundle,
        ),
        (
            Error::Option {
                option: "memory",
                problem: OptionProblem::StreamedReplicas,
            },
            ErrorKind::BadOptions,
        ),
        (
            ProviderError::UnknownDevice("x".into()).into(),
            ErrorKind::BadOptions,
        ),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.kind().as_str().is_empty());
    }
    assert!(ErrorKind::Overloaded.is_retryable() && !ErrorKind::InvalidInput.is_retryable());
}

#[test]
fn records_have_kinds_too() {
    for (line, kind) in [
        ("{", ErrorKind::InvalidInput),
        (r#"{"messages": []}"#, ErrorKind::InvalidInput),
        (
            r#"{"prompt": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "response": "b"}"#,
            ErrorKind::TooLong,
        ),
    ] {
        let mut reader = RecordReader::new(line.as_bytes()).with_max_record_bytes(40);
        let (entry, conversations) = Entry::prepare(reader.next().unwrap(), false);
        assert!(conversations.is_empty());
        assert_eq!(entry.check().unwrap_err().kind(), kind, "{line}");
    }
}

#[test]
fn sources_are_kept() {
    let error = Error::Bundle {
        path: PathBuf::from("b/model.onnx"),
        problem: BundleProblem::CannotRead(Arc::new(io::Error::other("the disk is gone"))),
    };
    let mut chain = std::iter::successors(error.source(), |cause| (*cause).source());
    let io = chain.find_map(|cause| cause.downcast_ref::<io::Error>());
    assert_eq!(io.unwrap().to_string(), "the disk is gone");
}
