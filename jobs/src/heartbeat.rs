//! Says now and then that a process lives.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use crate::job::Job;

/// Beats in an expiry: some may be late.
const BEATS: u32 = 6;

/// Touches the leases of a job on a thread of its own, until it is dropped.
pub struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Begins.
    ///
    /// # Errors
    /// The system's, when it gives no thread.
    pub fn start(job: Arc<Job>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let every = job.expiry() / BEATS;
        let work = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
                job.beat();
            }
        };
        let thread = thread::Builder::new()
            .name("heartbeat".into())
            .spawn(work)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
