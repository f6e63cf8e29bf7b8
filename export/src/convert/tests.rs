//! What comes out of a conversion, however it is divided among threads, and what stops one.

#![allow(clippy::unwrap_used)]

use std::{fs, num::NonZeroUsize, path::Path, sync::Mutex};

use half::{bf16, f16};
use worldpm_ort_bundle::{
    Error as BundleError, Overflow, float_type::FloatType, manifest::OverflowedTensor,
};

use super::{Encoding, Progress, Rules, Sink, Source, StageFile, run};
use crate::error::{Error, Result};

/// More than two chunks of 1 MiB in bfloat16.
const LARGE: [u64; 2] = [1301, 1003];

/// Values that a generator spreads over many magnitudes.
pub(super) fn values(count: u64) -> Vec<f32> {
    let mut state = 1_u32;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let exponent = f32::from((state >> 8) as u16 % 20) - 14.0;
            (f32::from((state >> 16) as u16) - 32768.0) / 32768.0 * exponent.exp2()
        })
        .collect()
}

/// A file with one tensor after `before` other bytes.
pub(super) fn source(
    dir: &Path,
    before: usize,
    float: FloatType,
    shape: &[u64],
    values: &[f32],
) -> Source {
    let mut bytes = vec![0xaa; before];
    for value in values {
        match float {
            FloatType::Bf16 => bytes.extend(bf16::from_f32(*value).to_le_bytes()),
            FloatType::F16 => bytes.extend(f16::from_f32(*value).to_le_bytes()),
            FloatType::F32 => bytes.extend(value.to_le_bytes()),
        }
    }
    fs::write(dir.join("source"), bytes).unwrap();
    Source {
        tensor: "tensor".into(),
        file: 0,
        offset: before as u64,
        float,
        shape: shape.to_vec(),
        update: None,
    }
}

/// Fills `out` and returns its bytes.
fn convert(
    dir: &Path,
    jobs: &[(Source, Encoding)],
    overflow: Overflow,
    threads: usize,
) -> Result<(Vec<u8>, Vec<OverflowedTensor>)> {
    convert_checked(dir, jobs, overflow, false, threads)
}

/// As [`convert`], and may ask for values that are finite.
pub(super) fn convert_checked(
    dir: &Path,
    jobs: &[(Source, Encoding)],
    overflow: Overflow,
    finite: bool,
    threads: usize,
) -> Result<(Vec<u8>, Vec<OverflowedTensor>)> {
    let rules = Rules {
        overflow,
        finite,
        calibration: None,
        threads: NonZeroUsize::new(threads),
        progress: &|_| {},
    };
    convert_by(dir, jobs, rules)
}

/// As [`convert`], by any rules; whose progress is not reported.
pub(super) fn convert_by(
    dir: &Path,
    jobs: &[(Source, Encoding)],
    rules: Rules<'_>,
) -> Result<(Vec<u8>, Vec<OverflowedTensor>)> {
    let mut file = StageFile::new("out".into());
    for (source, encoding) in jobs {
        file.allocate(source.clone(), *encoding);
    }
    let (head, path) = (file.head(), dir.join("out"));
    fs::write(&path, &head).unwrap();
    let seen = Mutex::new(Vec::new());
    let rules = Rules {
        progress: &|progress| seen.lock().unwrap().push(progress),
        ..rules
    };
    let sink = Sink {
        path: path.clone(),
        data_start: head.len() as u64,
        jobs: file.jobs(),
    };
    let overflowed = run(&[&dir.join("source")], &[sink], &rules)?;
    let total = jobs.iter().map(|(source, _)| source.bytes()).sum();
    let last = seen
        .into_inner()
        .unwrap()
        .into_iter()
        .max_by_key(|p| p.done);
    assert_eq!(last, Some(Progress { done: total, total }));
    let mut bytes = fs::read(path).unwrap();
    assert!(bytes.starts_with(&head));
    Ok((bytes.split_off(head.len()), overflowed))
}

#[test]
fn every_pair_of_types_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let floats = [FloatType::Bf16, FloatType::F16, FloatType::F32];
    let values = values(LARGE[0] * LARGE[1]);
    for from in floats {
        let source = source(dir.path(), 77, from, &LARGE, &values);
        for to in floats {
            let expected: Vec<u8> = values
                .iter()
                .map(|&value| match from {
                    FloatType::Bf16 => bf16::from_f32(value).to_f32(),
                    FloatType::F16 => f16::from_f32(value).to_f32(),
                    FloatType::F32 => value,
                })
                .flat_map(|value| match to {
                    FloatType::Bf16 => bf16::from_f32(value).to_le_bytes().to_vec(),
                    FloatType::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
                    FloatType::F32 => value.to_le_bytes().to_vec(),
                })
                .collect();
            let encoding = match from == to {
                true => Encoding::Copy,
                false => Encoding::Float(to),
            };
            for threads in [1, 2, 7] {
                let jobs = [(source.clone(), encoding)];
                let (found, _) = convert(dir.path(), &jobs, Overflow::Refuse, threads).unwrap();
                assert!(found == expected, "{from:?} to {to:?}, {threads} threads");
            }
        }
    }
}

/// The second tensor begins at a whole page, and the header covers the gap.
#[test]
fn tensors_are_aligned() {
    let dir = tempfile::tempdir().unwrap();
    let source = source(dir.path(), 0, FloatType::F32, &[3], &[1.0, 2.0, 3.0]);
    let second = Source {
        tensor: "second".into(),
        ..source.clone()
    };
    let jobs = [
        (source, Encoding::Copy),
        (second, Encoding::Float(FloatType::Bf16)),
    ];
    let (data, _) = convert(dir.path(), &jobs, Overflow::Refuse, 1).unwrap();
    assert_eq!(data.len(), 4096 + 6);
    assert_eq!(data[4096..4098], bf16::from_f32(1.0).to_le_bytes());
    let header =
        worldpm_ort_bundle::safetensors::header::read(&dir.path().join("out"), Path::new("out"))
            .unwrap();
    let tensors: Vec<(&str, u64)> = header
        .tensors
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor.offset % 4096))
        .collect();
    assert_eq!(tensors, [("tensor", 0), ("padding.1", 12), ("second", 0)]);
}

#[test]
fn values_that_overflow_are_counted_and_refused_or_clamped() {
    let dir = tempfile::tempdir().unwrap();
    let mut values = values(LARGE[0] * LARGE[1]);
    let last = values.len() - 1;
    values[3] = 1e5;
    values[last] = -65536.0;
    values[last / 2] = f32::INFINITY;
    let source = source(dir.path(), 0, FloatType::F32, &LARGE, &values);
    let jobs = [(source, Encoding::Float(FloatType::F16))];
    let expected = OverflowedTensor {
        tensor: "tensor".into(),
        count: 2,
        largest: 1e5,
    };
    for threads in [1, 3] {
        let error = convert(dir.path(), &jobs, Overflow::Refuse, threads).unwrap_err();
        let Error::Overflow { tensors } = &error else {
            panic!("{error}");
        };
        assert_eq!(tensors, std::slice::from_ref(&expected));
        assert!(
            error
                .to_string()
                .contains("`tensor` (2 values, the largest 1e5)"),
            "{error}"
        );

        let (data, clamped) = convert(dir.path(), &jobs, Overflow::Clamp, threads).unwrap();
        assert_eq!(clamped, std::slice::from_ref(&expected));
        let at = |index: usize| f16::from_le_bytes(data[2 * index..][..2].try_into().unwrap());
        assert_eq!(at(3), f16::MAX);
        assert_eq!(at(last), f16::MIN);
        assert_eq!(at(last / 2), f16::INFINITY);
        assert_eq!(at(7), f16::from_f32(values[7]));
    }
}

#[test]
fn a_source_that_ends_early() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = source(dir.path(), 0, FloatType::Bf16, &[4], &[0.0; 4]);
    source.offset = 2;
    for encoding in [Encoding::Copy, Encoding::Float(FloatType::F32)] {
        let jobs = [(source.clone(), encoding)];
        let error = convert(dir.path(), &jobs, Overflow::Refuse, 2).unwrap_err();
        assert!(
            matches!(&error, Error::Bundle(BundleError::Io { path, .. }) if path.ends_with("source")),
            "{error}"
        );
    }
}

/// Writing to `/dev/full` fails as on a full disk.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let source = source(
        dir.path(),
        0,
        FloatType::Bf16,
        &LARGE,
        &values(LARGE[0] * LARGE[1]),
    );
    std::os::unix::fs::symlink("/dev/full", dir.path().join("out")).unwrap();
    for encoding in [Encoding::Copy, Encoding::Float(FloatType::F32)] {
        let mut file = StageFile::new("out".into());
        file.allocate(source.clone(), encoding);
        let sink = Sink {
            path: dir.path().join("out"),
            data_start: 0,
            jobs: file.jobs(),
        };
        let rules = Rules {
            overflow: Overflow::Refuse,
            finite: false,
            calibration: None,
            threads: None,
            progress: &|_| {},
        };
        let error = run(&[&dir.path().join("source")], &[sink], &rules).unwrap_err();
        assert!(matches!(error, Error::Write { .. }));
        assert!(error.to_string().contains("free some space"), "{error}");
    }
}
