//! The threads that compute on the CPU.

use std::num::NonZeroUsize;

use ort::session::builder::SessionBuilder;

/// The processors of a session's threads.
const AFFINITIES: &str = "session.intra_op_thread_affinities";

/// Makes the threads of a session stop spinning when a run is over: the next stage may have the same processors.
const STOP_SPINNING: &str = "session.force_spinning_stop";

/// The threads of a session on the CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// Those of the process, which all sessions share.
    Shared(NonZeroUsize),
    /// The session's own.
    Own {
        /// How many.
        count: NonZeroUsize,
        /// The processor of each, from 0, but of the first, which is the stage's own thread.
        cores: Vec<usize>,
    },
}

impl Threads {
    pub(super) fn configure(&self, builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        Ok(match self {
            // What the process shares has its number of threads from the environment.
            Self::Shared(_) => builder,
            Self::Own { count, cores } => {
                let builder = builder
                    .with_independent_thread_pool()?
                    .with_intra_threads(count.get())?
                    .with_config_entry(STOP_SPINNING, "1")?;
                match affinities(cores, count.get()) {
                    Some(affinities) => builder.with_config_entry(AFFINITIES, affinities)?,
                    None => builder,
                }
            }
        })
    }

    pub(super) fn count(&self) -> NonZeroUsize {
        match self {
            Self::Shared(count) | Self::Own { count, .. } => *count,
        }
    }
}

/// ONNX Runtime's words for the processors of a session's threads, of which the first is the caller's and has none.
/// They count from 1. `None` when there is no other thread or no core is given.
fn affinities(cores: &[usize], threads: usize) -> Option<String> {
    if cores.is_empty() || threads < 2 {
        return None;
    }
    let cores = (1..threads).map(|thread| (cores[thread % cores.len()] + 1).to_string());
    Some(cores.collect::<Vec<_>>().join(";"))
}
