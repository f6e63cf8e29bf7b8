//! What a job is about: it may only be gone on with when all of this is the same.

use std::{collections::BTreeMap, fmt, io::Read, io::Write as _};

use serde::{Deserialize, Serialize};

use crate::{
    difference::Difference,
    error::{JobError, Result},
    fs::FileSystem,
    input::InputFile,
};

pub(crate) const FILE: &str = "job.json";
const FORMAT: &str = "worldpm-ort-job";
/// The version of the directory that this crate writes and reads.
const VERSION: u64 = 1;

/// What a job is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The files of records, in order.
    pub inputs: Vec<InputFile>,
    /// What computes: names and values, as messages show them where they differ.
    pub model: BTreeMap<String, String>,
    /// Every option that changes a result.
    pub options: BTreeMap<String, String>,
    /// Most records of a shard.
    pub shard_records: u64,
}

/// `job.json`.
#[derive(Serialize, Deserialize)]
struct Written {
    format: String,
    version: u64,
    /// What made it, for whoever reads the file.
    program: String,
    #[serde(flatten)]
    identity: Identity,
}

/// What every version has.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u64,
}

impl Identity {
    /// Reads that of the job in a directory; `None` where there is none.
    pub(crate) fn read(fs: &dyn FileSystem) -> Result<Option<Self>> {
        let path = || fs.locate(FILE);
        let mut text = Vec::new();
        match fs.open(FILE) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(JobError::io("read", path())(error)),
            Ok(mut file) => file
                .read_to_end(&mut text)
                .map_err(JobError::io("read", path()))?,
        };
        let damaged = |error: &dyn fmt::Display| JobError::Damaged {
            path: path(),
            problem: format!("it is not what a job begins with ({error})"),
        };
        let head: Head = serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
        if head.format != FORMAT {
            return Err(damaged(&"another format"));
        }
        if head.version != VERSION {
            return Err(JobError::Version {
                path: path(),
                found: head.version,
                known: VERSION,
            });
        }
        let written: Written = serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
        Ok(Some(written.identity))
    }

    /// Writes it, unless another process does at the same time.
    pub(crate) fn write(&self, fs: &dyn FileSystem, token: &str) -> Result<()> {
        let temporary = format!("job.{token}.tmp");
        let written = Written {
            format: FORMAT.to_owned(),
            version: VERSION,
            program: concat!("worldpm-ort ", env!("CARGO_PKG_VERSION")).to_owned(),
            identity: self.clone(),
        };
        let write = || {
            let mut file = fs.create_new(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(&written)?)?;
            file.sync()?;
            if !fs.publish(&temporary, FILE)? {
                fs.remove(&temporary)?;
            }
            fs.sync_dir("")
        };
        write().map_err(|error| {
            let _ = fs.remove(&temporary);
            JobError::io("write", fs.locate(FILE))(error)
        })
    }

    /// All that differs from what is wanted now. The time of an input is no matter here: see
    /// [`InputFile::is_untouched`].
    pub(crate) fn differences(&self, now: &Self) -> Vec<Difference> {
        let mut all = Vec::new();
        let mut compare = |what: String, job: String, now: String| {
            if job != now {
                all.push(Difference { what, job, now });
            }
        };
        let count = |inputs: &[InputFile]| inputs.len().to_string();
        compare(
            "the number of inputs".into(),
            count(&self.inputs),
            count(&now.inputs),
        );
        for (job, now) in self.inputs.iter().zip(&now.inputs) {
            let size = |input: &InputFile| format!("{} bytes", input.bytes);
            if job.bytes != now.bytes {
                compare(format!("the input {}", now.name), size(job), size(now));
            } else {
                compare(
                    format!("the content of the input {}", now.name),
                    job.shown_hash(),
                    now.shown_hash(),
                );
            }
        }
        let none = || "not given".to_owned();
        for (kind, job, now) in [
            ("model: ", &self.model, &now.model),
            ("", &self.options, &now.options),
        ] {
            let names = job
                .keys()
                .chain(now.keys().filter(|name| !job.contains_key(*name)));
            for name in names {
                let value = |of: &BTreeMap<String, String>| of.get(name).cloned();
                compare(
                    format!("{kind}{name}"),
                    value(job).unwrap_or_else(none),
                    value(now).unwrap_or_else(none),
                );
            }
        }
        compare(
            "the records of a shard".into(),
            self.shard_records.to_string(),
            now.shard_records.to_string(),
        );
        all
    }
}
