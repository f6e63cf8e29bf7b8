//! The weight files of an opened bundle: what is computed with is what was checked.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use worldpm_ort_bundle::{
    fingerprint::{FileIdentity, each, sampled_sha256},
    hash::header_sha256,
    manifest::WeightFile,
};

use crate::error::{BundleProblem, Error, Result, WeightsChange};

/// The weight files, as they were when they were checked.
///
/// ONNX Runtime maps them, and stages that are streamed are read anew: whatever is written to one of them while the
/// bundle is open may be in any score from then on. So scores are handed out after a look at the files that follows their
/// computing.
#[derive(Debug)]
pub(crate) struct WeightFiles {
    files: Vec<Watched>,
    /// When the latest look began that found nothing.
    unchanged_at: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    sampled_sha256: String,
    identity: Mutex<FileIdentity>,
}

impl WeightFiles {
    /// Checks `files`, which are in `folder`: their size, and the hashes of their headers and of samples.
    pub(crate) fn check(folder: &Path, files: &[WeightFile]) -> Result<Self> {
        let checked = each(files, |file| Watched::check(folder, file));
        Ok(Self {
            files: checked.into_iter().collect::<Result<_>>()?,
            unchanged_at: Mutex::default(),
        })
    }

    /// Refuses files that are not as they were when they were checked.
    pub(crate) fn require_unchanged(&self) -> Result<()> {
        let begun = Instant::now();
        self.files.iter().try_for_each(Watched::require_unchanged)?;
        let mut latest = self
            .unchanged_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *latest = latest.max(Some(begun));
        Ok(())
    }

    /// As [`require_unchanged`](Self::require_unchanged), for what was computed at `computed`: a look that began later, for
    /// others, will do.
    pub(crate) fn require_unchanged_since(&self, computed: Instant) -> Result<()> {
        let latest = *self
            .unchanged_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match latest {
            Some(looked) if looked >= computed => Ok(()),
            _ => self.require_unchanged(),
        }
    }
}

impl Watched {
    fn check(folder: &Path, file: &WeightFile) -> Result<Self> {
        let path = folder.join(&file.name);
        let fault = |problem| Error::Bundle {
            path: path.clone(),
            problem,
        };
        let opened = |error: io::Error| fault(BundleProblem::CannotOpen(error.into()));
        let real = path.canonicalize().map_err(opened)?;
        if !real.starts_with(folder) {
            return Err(fault(BundleProblem::LinkOutside { to: real }));
        }
        check_size(&path, file.bytes)?;
        let identity = FileIdentity::of(&path).map_err(opened)?;
        if header_sha256(&path)? != file.header_sha256 {
            return Err(fault(BundleProblem::OtherTensors));
        }
        let sampled = sampled_sha256(&path)?;
        if file
            .sampled_sha256
            .as_ref()
            .is_some_and(|at_export| *at_export != sampled)
        {
            return Err(fault(BundleProblem::OtherWeights));
        }
        let watched = Self {
            path,
            sampled_sha256: sampled,
            identity: Mutex::new(identity),
        };
        // It may have been written to between the looks.
        watched.require_unchanged()?;
        Ok(watched)
    }

    fn require_unchanged(&self) -> Result<()> {
        let changed = |problem| Error::WeightsChanged {
            path: self.path.clone(),
            problem,
        };
        let mut before = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let now = FileIdentity::of(&self.path)
            .map_err(|error| changed(WeightsChange::CannotOpen(error.into())))?;
        if now == *before {
            return Ok(());
        }
        // Someone may have linked to it, or changed its permissions.
        let same = now.is_unwritten(&before)
            && sampled_sha256(&self.path).is_ok_and(|found| found == self.sampled_sha256);
        if !same {
            return Err(changed(WeightsChange::Written));
        }
        *before = now;
        Ok(())
    }
}

pub(crate) fn check_size(path: &Path, bytes: u64) -> Result<()> {
    let found = fs::metadata(path)
        .map_err(|error| Error::Bundle {
            path: path.to_owned(),
            problem: BundleProblem::CannotOpen(error.into()),
        })?
        .len();
    if found == bytes {
        return Ok(());
    }
    Err(Error::Bundle {
        path: path.to_owned(),
        problem: BundleProblem::Size {
            found,
            expected: bytes,
        },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        fs::File,
        os::unix::fs::{FileExt, PermissionsExt, symlink},
        thread,
        time::Duration,
    };

    use super::*;

    /// A checked file of 32 zeros in a folder.
    fn watched() -> (tempfile::TempDir, PathBuf, WeightFile) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let path = folder.join("model.safetensors");
        let header = r#"{"a":{"dtype":"U8","shape":[32],"data_offsets":[0,32]}} "#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.extend([0; 32]);
        fs::write(&path, &bytes).unwrap();
        let file = WeightFile {
            name: "model.safetensors".into(),
            bytes: bytes.len() as u64,
            header_sha256: header_sha256(&path).unwrap(),
            sampled_sha256: Some(sampled_sha256(&path).unwrap()),
            sha256: None,
        };
        (dir, folder, file)
    }

    fn write(path: &Path, byte: u8) {
        thread::sleep(Duration::from_millis(20));
        let file = File::options().write(true).open(path).unwrap();
        let end = file.metadata().unwrap().len();
        file.write_all_at(&[byte], end - 1).unwrap();
    }

    #[test]
    fn every_change_is_seen() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 6] = [
            ("overwritten", |path| write(path, 1)),
            ("overwritten with the same", |path| write(path, 0)),
            ("overwritten, and the time set back", |path| {
                let modified = fs::metadata(path).unwrap().modified().unwrap();
                write(path, 1);
                let file = File::options().write(true).open(path).unwrap();
                file.set_modified(modified).unwrap();
            }),
            ("truncated", |path| {
                File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_len(9)
                    .unwrap();
            }),
            ("removed", |path| fs::remove_file(path).unwrap()),
            ("replaced", |path| {
                let copy = path.with_extension("copy");
                fs::copy(path, &copy).unwrap();
                fs::rename(copy, path).unwrap();
            }),
        ];
        for (name, change) in changes {
            let (_dir, folder, file) = watched();
            let files = WeightFiles::check(&folder, std::slice::from_ref(&file)).unwrap();
            files.require_unchanged().unwrap();
            change(&folder.join(&file.name));
            let error = files.require_unchanged().unwrap_err();
            assert!(
                matches!(error, Error::WeightsChanged { .. }),
                "{name}: {error}"
            );
            assert!(error.to_string().contains("model.safetensors"), "{error}");
        }
    }

    #[test]
    fn links_and_permissions_are_no_change() {
        let (_dir, folder, file) = watched();
        let path = folder.join(&file.name);
        let files = WeightFiles::check(&folder, std::slice::from_ref(&file)).unwrap();
        thread::sleep(Duration::from_millis(20));
        fs::hard_link(&path, folder.join("link")).unwrap();
        files.require_unchanged().unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        files.require_unchanged().unwrap();
    }

    #[test]
    fn other_weights_than_at_export() {
        let (_dir, folder, mut file) = watched();
        write(&folder.join(&file.name), 1);
        let check = |file: &WeightFile| WeightFiles::check(&folder, std::slice::from_ref(file));
        let message = check(&file).unwrap_err().to_string();
        assert!(message.contains("holds other weights"), "{message}");
        // Older exporters took no samples.
        file.sampled_sha256 = None;
        let files = check(&file).unwrap();
        write(&folder.join(&file.name), 2);
        files.require_unchanged().unwrap_err();
    }

    #[test]
    fn links_that_lead_out() {
        let (_dir, folder, file) = watched();
        let elsewhere = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.join(&file.name), elsewhere.path().join("moved"));
        fs::copy(&path, &moved).unwrap();
        fs::rename(&path, folder.join("inside")).unwrap();
        symlink("inside", &path).unwrap();
        WeightFiles::check(&folder, std::slice::from_ref(&file)).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&moved, &path).unwrap();
        let message = WeightFiles::check(&folder, &[file])
            .unwrap_err()
            .to_string();
        assert!(message.contains("--weights-dir"), "{message}");
    }
}
