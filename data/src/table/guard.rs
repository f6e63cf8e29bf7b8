//! Decoders that panic on what they do not expect, turned into ones that fail.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    /// Whether this thread is in a decoder, where a panic is no matter of ours to report.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder on bytes that may be damaged. What it panics with is its error. What it was at is not to be used again.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                before(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let decoded = panic::catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(outer);
    decoded.unwrap_or_else(|payload| {
        Err(format!(
            "the data is damaged ({})",
            message(payload.as_ref())
        ))
    })
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("its decoder gave up")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let empty: Vec<usize> = Vec::new();
        let error = guarded(|| Ok(empty[7]));
        assert!(error.is_err_and(|error| error.contains("index out of bounds")));
        assert_eq!(guarded(|| Ok(1)), Ok(1));
        assert_eq!(guarded(|| Err::<(), _>("no".into())), Err("no".into()));
        assert!(!GUARDED.get());
    }
}
