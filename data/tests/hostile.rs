//! Files that are cut off or damaged: an error with a place, never a panic, and memory for no more than there is.

#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use worldpm_ort_data::{Compression, DataSet, Files, Format, ReadOptions, WriteOptions, Writer};
use worldpm_ort_runtime::answers::Outcome;

/// The largest block of memory that was asked for.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Watched;

// SAFETY: the system's allocator does the work.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

const FILES: [(Format, Compression, &str); 9] = [
    (Format::JsonLines, Compression::Gzip, "a.jsonl.gz"),
    (Format::JsonLines, Compression::Zstd, "a.jsonl.zst"),
    (Format::Json, Compression::None, "a.json"),
    (Format::Csv, Compression::None, "a.csv"),
    (Format::Csv, Compression::Zstd, "a.csv.zst"),
    (Format::Parquet, Compression::None, "a.parquet"),
    (Format::Parquet, Compression::Gzip, "a.parquet.gz"),
    (Format::Arrow, Compression::None, "a.arrow"),
    (Format::ArrowStream, Compression::None, "a.arrows"),
];

const ROWS: usize = 300;

/// A file of each format with the same rows.
fn files(folder: &Path) -> Vec<(Format, PathBuf)> {
    let lines: String = (0..ROWS)
        .map(|number| {
            let noise = number.wrapping_mul(2_654_435_761) % 1_000_003;
            let message = format!(r#"{{"role":"user","content":"q {noise}"}}"#);
            format!(r#"{{"id":{number},"prompt":"p {noise}","response":"r","more":[{message}],"x":{number}.5}}"#) + "\n"
        })
        .collect();
    let source = folder.join("in.jsonl");
    fs::write(&source, lines).unwrap();
    let write = |&(format, compression, name): &(Format, Compression, &str)| {
        let mut read = ReadOptions::default();
        read.keep_fields = true;
        let set =
            DataSet::open(Files::find(std::slice::from_ref(&source)).unwrap(), &read).unwrap();
        let mut options = WriteOptions::new(format);
        options.compression = compression;
        let mut writer = Writer::new(&options, &set).unwrap();
        for row in set.rows(|_| ()) {
            let outcome: Outcome = serde_json::from_str(r#"{"score":1.5,"tokens":3}"#).unwrap();
            writer.write(row.columns, None, outcome).unwrap();
        }
        writer.close().unwrap();
        let path = folder.join(name);
        fs::write(&path, writer.take()).unwrap();
        (format, path)
    };
    FILES.iter().map(write).collect()
}

/// The rows that are read well, and what is wrong where something is.
fn read(path: &Path) -> (usize, Option<String>) {
    let mut options = ReadOptions::default();
    options.max_record_bytes = 1 << 20;
    let files = Files::find(&[path.to_owned()]).unwrap();
    let set = match DataSet::open(files, &options) {
        Ok(set) => set,
        Err(error) => return (0, Some(error.to_string())),
    };
    let (mut good, mut problem) = (0, None);
    for row in set.rows(|_| ()).take(100_000) {
        match row.read {
            Ok(_) => good += 1,
            Err(error) => problem = Some(format!("{}: {error}", row.file)),
        }
    }
    (good, problem)
}

/// Everything in one test: the largest block is the process's.
#[test]
fn damaged_files() {
    let folder = tempfile::tempdir().unwrap();
    for (format, path) in files(folder.path()) {
        let whole = fs::read(&path).unwrap();
        assert_eq!(read(&path), (ROWS, None), "{}", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        let spoiled = folder.path().join(format!("spoiled-{name}"));

        let mut partly = 0;
        for end in (0..whole.len()).step_by(97) {
            fs::write(&spoiled, &whole[..end]).unwrap();
            let (good, problem) = read(&spoiled);
            // Text that ends behind a row is whole, and so is a stream without the mark of its end; an Arrow file has another
            // list of its parts behind them, which is not needed.
            let is_end = end + 12 > whole.len();
            let is_list = format == Format::Arrow && end > whole.len() / 2;
            assert!(
                good < ROWS || problem.is_some() || is_end || is_list,
                "{name} to byte {end}: {good}"
            );
            if problem.is_none() && !is_list && end >= 8 {
                let may_be_whole = [Format::Csv, Format::JsonLines, Format::ArrowStream];
                assert!(may_be_whole.contains(&format), "{name} to byte {end}");
            }
            if let Some(problem) = problem {
                assert!(problem.contains("spoiled-"), "{problem}");
                partly += usize::from(good > 0);
            }
        }
        let is_one_part = matches!(
            format,
            Format::Parquet | Format::Arrow | Format::ArrowStream
        );
        assert!(
            partly > 0 || is_one_part || name.ends_with("zst"),
            "{name}: nothing was read of what was there"
        );

        let mut random = 1_u64;
        let mut told = 0;
        for _ in 0..600 {
            // A generator of Marsaglia's.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut bytes = whole.clone();
            let at = usize::try_from(random >> 8).unwrap() % bytes.len();
            bytes[at] ^= 1 << (random & 7);
            fs::write(&spoiled, &bytes).unwrap();
            let (good, problem) = read(&spoiled);
            assert!(
                good <= ROWS + 1 || problem.is_some() || format.is_text(),
                "{name}, byte {at}: {good}"
            );
            told += usize::from(problem.is_some());
        }
        assert!(told > 0, "{name}: no bit that was changed was found");
    }
    // A page or buffer says how large it is when it is decompressed; the largest of ours are of a batch.
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(
        largest < 64 << 20,
        "a block of {largest} bytes was asked for"
    );
}
