//! How far a download is.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// How far a download is, over all its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownloadProgress {
    /// Files that were not in the cache.
    pub files: usize,
    /// Those of them that are complete and checked.
    pub files_done: usize,
    /// Bytes of these files.
    pub bytes: u64,
    /// Bytes that have arrived, those of an earlier run included.
    pub bytes_done: u64,
}

/// Counts what all threads of a download bring.
pub(super) struct Meter<'a> {
    files: usize,
    bytes: AtomicU64,
    files_done: AtomicUsize,
    bytes_done: AtomicU64,
    /// One report at a time, so that none overtakes another.
    report: Mutex<&'a (dyn Fn(DownloadProgress) + Sync)>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(
        files: usize,
        bytes: u64,
        report: &'a (dyn Fn(DownloadProgress) + Sync),
    ) -> Self {
        let meter = Self {
            files,
            bytes: AtomicU64::new(bytes),
            files_done: AtomicUsize::new(0),
            bytes_done: AtomicU64::new(0),
            report: Mutex::new(report),
        };
        if files > 0 {
            meter.report();
        }
        meter
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
        self.report();
    }

    /// Bytes that have to be downloaded again.
    pub(super) fn take_back(&self, bytes: u64) {
        self.bytes_done.fetch_sub(bytes, Ordering::Relaxed);
        self.report();
    }

    /// A file turned out to have other than the `planned` bytes.
    pub(super) fn resize(&self, planned: u64, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_sub(planned, Ordering::Relaxed);
    }

    pub(super) fn file_done(&self) {
        self.files_done.fetch_add(1, Ordering::Relaxed);
        self.report();
    }

    fn report(&self) {
        let Ok(report) = self.report.lock() else {
            return;
        };
        let bytes_done = self.bytes_done.load(Ordering::Relaxed);
        report(DownloadProgress {
            files: self.files,
            files_done: self.files_done.load(Ordering::Relaxed),
            // Of some files the size is known at their end only.
            bytes: self.bytes.load(Ordering::Relaxed).max(bytes_done),
            bytes_done,
        });
    }
}
