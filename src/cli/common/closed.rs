//! Whether the process was started with its standard output closed. Rust's runtime opens `/dev/null` in its place before
//! `main`, so this is looked up before that.

use std::sync::atomic::{AtomicBool, Ordering};

static STDOUT: AtomicBool = AtomicBool::new(false);

/// Whether there is no standard output. What is printed would be lost without an error.
pub(crate) fn stdout() -> bool {
    STDOUT.load(Ordering::Relaxed)
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod at_start {
    use super::{Ordering, STDOUT};

    // SAFETY: the C library calls every function that is listed in this section, once, before `main`. This one needs
    // nothing of Rust's runtime.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        // SAFETY: F_GETFD reads the flags of a descriptor, and fails for one that is closed.
        let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
        STDOUT.store(flags == -1, Ordering::Relaxed);
    }
}
