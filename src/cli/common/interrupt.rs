//! What Ctrl-C and SIGTERM do: the first ends the work in good order, the second ends the process.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use signal_hook::{consts::TERM_SIGNALS, flag, low_level::pipe};

/// Whether the process was asked to end.
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the first such signal calls `report`, and the next one has its usual effect.
    pub(crate) fn watch(report: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let (mut signalled, signal_end) = UnixStream::pair()?;
        for &signal in TERM_SIGNALS {
            // In this order: the first looks whether the second has noted a signal before.
            flag::register_conditional_default(signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
            pipe::register(signal, signal_end.try_clone()?)?;
        }
        // A handler of signals may not print.
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                if signalled.read_exact(&mut [0]).is_ok() {
                    report();
                }
            })?;
        Ok(Self(asked))
    }

    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
