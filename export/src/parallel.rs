//! Work in parts, on several threads.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    thread,
};

/// Does `work` with all parts, on so many threads.
pub(crate) fn each<T: Send>(parts: Vec<T>, threads: NonZeroUsize, work: impl Fn(T) + Sync) {
    let threads = threads.get().min(parts.len());
    if threads <= 1 {
        parts.into_iter().for_each(work);
        return;
    }
    let parts = Mutex::new(parts.into_iter());
    let next = || {
        let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.next()
    };
    let take_parts = || {
        while let Some(part) = next() {
            work(part);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(take_parts);
        }
        take_parts();
    });
}
