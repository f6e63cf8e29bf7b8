//! How fast the weights of a bundle are read.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::{SeekFrom, seek};
use worldpm_ort_bundle::Bytes;

use super::finding::{Finding, Level};
use crate::bundle::Bundle;

/// Bytes that are read to measure.
const MOST: u64 = 256 << 20;
/// Fewer say nothing about a disk.
const LEAST: u64 = 1 << 20;
const BLOCK: usize = 4 << 20;
/// Slower than this is worth a word: 145 GB take ten minutes.
const SLOW: f64 = 250e6;

/// Reads the beginning of the largest weight file. `None` for a bundle without weight files.
pub(super) fn examine(bundle: &Bundle) -> Option<Finding> {
    let files = &bundle.manifest().weights.files;
    let largest = files.iter().max_by_key(|file| file.bytes)?;
    let all: u64 = files.iter().map(|file| file.bytes).sum();
    let path = bundle.weights().join(&largest.name);
    Some(match read(&path) {
        Ok(measured) => in_words(&measured, all, &path),
        Err(error) => {
            let found = format!("{} cannot be read: {error}", path.display());
            Finding::bad(
                Level::Error,
                "disk",
                found,
                "see who owns the file, and whether the disk is sound",
            )
        }
    })
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
struct Measured {
    bytes: u64,
    time: Duration,
    /// Whether the file has holes, which are not on the disk.
    sparse: bool,
}

fn read(path: &Path) -> io::Result<Measured> {
    let mut file = File::open(path)?;
    let sparse = has_holes(&file)?;
    // What the system holds in memory of it is let go, so that the disk is measured.
    #[cfg(target_os = "linux")]
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    let mut buffer = vec![0_u8; BLOCK];
    let mut bytes = 0;
    let start = Instant::now();
    while bytes < MOST {
        match file.read(&mut buffer)? {
            0 => break,
            count => bytes += count as u64,
        }
    }
    Ok(Measured {
        bytes,
        time: start.elapsed(),
        sparse,
    })
}

/// Whether parts of the file were never written. The number of blocks of a file does not show it: a file system that compresses
/// needs fewer. One that knows of no holes gives the end of the file.
fn has_holes(mut file: &File) -> io::Result<bool> {
    let end = file.metadata()?.len();
    // Nor does an empty file have any, which is an error here.
    let sparse = seek(file, SeekFrom::Hole(0)).is_ok_and(|hole| hole < end);
    file.rewind()?;
    Ok(sparse)
}

fn in_words(measured: &Measured, all: u64, path: &Path) -> Finding {
    let Measured {
        bytes,
        time,
        sparse,
    } = *measured;
    let seconds = time.as_secs_f64();
    let folder = path.parent().unwrap_or(path).display();
    if bytes < LEAST || seconds <= 0.0 {
        return Finding::ok(
            "disk",
            format!("{folder}: {} of weights are too few to measure", Bytes(all)),
        );
    }
    let rate = bytes as f64 / seconds;
    let found = format!(
        "{folder}: {} read in {seconds:.2} s, {:.2} GB/s, by one thread, with the system's cache of the file dropped \
         first; all {} of weights would take {:.0} s",
        Bytes(bytes),
        rate / 1e9,
        Bytes(all),
        all as f64 / rate
    );
    if sparse {
        let advice = "the file has holes: weights that were never written, as `synth --sparse` makes, say nothing of the disk";
        return Finding::bad(Level::Warn, "disk", found, advice);
    }
    match rate < SLOW {
        true => Finding::bad(
            Level::Warn,
            "disk",
            found,
            "keep the weights on a local disk to load them faster",
        ),
        false => Finding::ok("disk", found),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_up_to_their_end() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("weights");
        std::fs::write(&path, vec![7_u8; 3 << 20]).unwrap();
        let read_from = |path| {
            let found = read(path).unwrap();
            (found.bytes, found.sparse)
        };
        assert_eq!(read_from(&path), (3 << 20, false));
        // A hole at the end, and nothing else.
        let file = File::options().append(true).open(&path).unwrap();
        file.set_len(8 << 20).unwrap();
        assert_eq!(read_from(&path), (8 << 20, true));
        File::create(&path).unwrap().set_len(8 << 20).unwrap();
        assert_eq!(read_from(&path), (8 << 20, true));
        File::create(&path).unwrap();
        assert_eq!(read_from(&path), (0, false));
        assert!(read(&place.path().join("nothing")).is_err());
    }

    #[test]
    fn what_was_measured_is_said() {
        let measured = |bytes, millis, sparse| Measured {
            bytes,
            time: Duration::from_millis(millis),
            sparse,
        };
        let words = |measured| in_words(&measured, 10_000_000_000, Path::new("/m/w"));
        let fast = words(measured(200_000_000, 100, false));
        assert_eq!(fast.level, Level::Ok);
        assert!(
            fast.found
                .starts_with("/m: 190.73 MiB read in 0.10 s, 2.00 GB/s"),
            "{fast:?}"
        );
        assert!(fast.found.ends_with("would take 5 s"), "{fast:?}");
        assert_eq!(words(measured(200_000_000, 2000, false)).level, Level::Warn);
        assert_eq!(words(measured(200_000_000, 100, true)).level, Level::Warn);
        assert!(
            words(measured(5, 1, false))
                .found
                .contains("too few to measure")
        );
    }
}
