//! Puts the weight files where the graphs look for them.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use worldpm_ort_bundle::{
    WeightsMode,
    files::open_regular,
    fingerprint::{each, sampled_sha256},
    hash::{file_sha256, header_sha256},
    manifest::{WeightFile, Weights},
};

use crate::{
    checkpoint::{Checkpoint, DataFile},
    error::{Error, Result},
    options::ExportOptions,
    output::{StagedDir, output_error},
};

/// BundlePaths the weights of `checkpoint` and describes them, in the order of [`Checkpoint::files`].
pub(super) fn place(
    checkpoint: &Checkpoint,
    options: &ExportOptions,
    output: &StagedDir,
) -> Result<Weights> {
    let files = checkpoint.files();
    let directory = directory(files, options.weights);
    let place = |file: &DataFile| match (&directory, options.weights) {
        // In a Hugging Face cache the real file has another name than its link.
        (Some(directory), _) => Ok((file.path.clone(), name_in(directory, &file.path)?)),
        (None, WeightsMode::Copy) => Ok((copy(file, output)?, file.name.clone())),
        (None, _) => {
            link(file, &output.file(&file.name)?)?;
            Ok((file.path.clone(), file.name.clone()))
        }
    };
    let placed: Vec<_> = files.iter().map(place).collect::<Result<_>>()?;
    Ok(Weights {
        mode: options.weights.into(),
        directory: directory
            .map(|directory| utf8(&directory).map(str::to_owned))
            .transpose()?,
        files: describe(&placed, options.checksum)?,
        clamped: Vec::new(),
    })
}

/// What the files of `checkpoint` are called where the graphs look for them, once they are [placed](place).
pub(super) fn locations(checkpoint: &Checkpoint, mode: WeightsMode) -> Result<Vec<String>> {
    let files = checkpoint.files();
    let directory = directory(files, mode);
    let location = |file: &DataFile| match &directory {
        Some(directory) => name_in(directory, &file.path),
        None => Ok(file.name.clone()),
    };
    files.iter().map(location).collect()
}

/// The directory in which the graphs look for weights, when it is not the bundle.
fn directory(files: &[DataFile], mode: WeightsMode) -> Option<PathBuf> {
    match mode {
        WeightsMode::Reference => Some(common_directory(files)),
        WeightsMode::Hardlink | WeightsMode::Copy => None,
    }
}

/// Links those of the checkpoint's files that a stage uses into its folder, which ends in a slash.
pub(super) fn link_used(
    checkpoint: &Checkpoint,
    used: &BTreeSet<String>,
    folder: &str,
    options: &ExportOptions,
    output: &StagedDir,
) -> Result<Vec<WeightFile>> {
    let files = checkpoint.files().iter();
    let linked: Vec<_> = files
        .filter(|file| used.contains(&file.name))
        .map(|file| {
            let name = format!("{folder}{}", file.name);
            link(file, &output.file(&name)?)?;
            Ok((file.path.clone(), name))
        })
        .collect::<Result<_>>()?;
    describe(&linked, options.checksum)
}

/// What the manifest says of files, each given with its name there.
pub(super) fn describe(files: &[(PathBuf, String)], checksum: bool) -> Result<Vec<WeightFile>> {
    let one = |(path, name): &(PathBuf, String)| {
        let metadata = fs::metadata(path).map_err(|source| Error::io("open", path, source))?;
        Ok(WeightFile {
            name: name.clone(),
            bytes: metadata.len(),
            header_sha256: header_sha256(path)?,
            sampled_sha256: Some(sampled_sha256(path)?),
            sha256: checksum.then(|| file_sha256(path)).transpose()?,
        })
    };
    each(files, one).into_iter().collect()
}

/// Repository and revision, when `dir` is a snapshot in a Hugging Face cache
/// (`models--OWNER--NAME/snapshots/REVISION`).
pub(super) fn hub_origin(dir: &Path) -> (Option<String>, Option<String>) {
    let named =
        |path: Option<&Path>| -> Option<String> { Some(path?.file_name()?.to_str()?.to_owned()) };
    let snapshots = dir.parent();
    if named(snapshots).as_deref() != Some("snapshots") {
        return (None, None);
    }
    let repository = named(snapshots.and_then(Path::parent))
        .and_then(|name| Some(name.strip_prefix("models--")?.replace("--", "/")));
    match repository {
        Some(repository) => (Some(repository), named(Some(dir))),
        None => (None, None),
    }
}

/// The deepest folder that all files are in. ONNX Runtime reads all external data of a graph from one folder, and from
/// folders in it, but follows no link that leads out.
fn common_directory(files: &[DataFile]) -> PathBuf {
    let mut folders = files.iter().filter_map(|file| file.path.parent());
    let first = folders.next().unwrap_or(Path::new("/")).to_owned();
    folders.fold(first, |common, folder| {
        let mut ancestors = common.ancestors();
        let found = ancestors.find(|ancestor| folder.starts_with(ancestor));
        found.unwrap_or(Path::new("/")).to_owned()
    })
}

/// The path of a file from a folder that it is in.
fn name_in(directory: &Path, path: &Path) -> Result<String> {
    let name = path.strip_prefix(directory).unwrap_or(path);
    Ok(utf8(name)?.to_owned())
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::Unsupported {
        what: format!("the path {}, which is not UTF-8", path.display()),
        hint: "rename it".into(),
    })
}

fn link(file: &DataFile, to: &Path) -> Result<()> {
    fs::hard_link(&file.path, to).map_err(|error| Error::Output {
        path: to.to_owned(),
        problem: format!(
            "cannot be made a hard link to {}: {error}; use --weights copy when the checkpoint is \
             on another file system",
            file.path.display()
        ),
    })
}

fn copy(file: &DataFile, output: &StagedDir) -> Result<PathBuf> {
    let path = output.file(&file.name)?;
    let fill = || -> io::Result<()> {
        let mut from = open_regular(&file.path)?;
        io::copy(&mut from, &mut File::create(&path)?).map(drop)
    };
    fill().map_err(|error| output_error(&path, "copy to it", error))?;
    Ok(path)
}
