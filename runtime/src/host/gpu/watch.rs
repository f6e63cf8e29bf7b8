//! The most memory of the GPUs that was in use over a time, which the driver does not keep: it is asked again and again.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    nvml::{self, Nvml},
    types::{Gpu, GpusError},
};

/// How often the driver is asked.
const INTERVAL: Duration = Duration::from_millis(20);

/// Memory of a GPU in bytes, all processes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeakMemory {
    /// Its number for CUDA.
    pub(crate) device_id: u16,
    /// In use when the watch began.
    pub(crate) before: u64,
    /// The most that was seen in use since.
    pub(crate) peak: u64,
}

/// Asks for the memory in use of GPUs until it is dropped.
pub(crate) struct MemoryWatch {
    watched: Arc<Watched>,
    /// Dropped to end the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Watched {
    nvml: Nvml,
    uuids: Vec<String>,
    /// Of each of `uuids`.
    seen: Mutex<Vec<PeakMemory>>,
}

impl Watched {
    /// Asks for every GPU once.
    fn ask(&self) {
        for (at, uuid) in self.uuids.iter().enumerate() {
            // A GPU that does not answer once may do so the next time.
            let Ok(used) = self.nvml.used(uuid) else {
                continue;
            };
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen[at].peak = seen[at].peak.max(used);
        }
    }
}

impl MemoryWatch {
    /// Begins to watch these GPUs of the machine. Those that do not answer now are left out.
    ///
    /// # Errors
    /// [`GpusError::NoLibrary`] and [`GpusError::Driver`] where the driver answers for none of them.
    pub(crate) fn start(gpus: &[Gpu]) -> Result<Self, GpusError> {
        Self::with(Nvml::open(nvml::LIBRARY)?, gpus, INTERVAL)
    }

    fn with(nvml: Nvml, gpus: &[Gpu], interval: Duration) -> Result<Self, GpusError> {
        let (mut uuids, mut seen) = (Vec::new(), Vec::new());
        let mut problem = None;
        for gpu in gpus {
            match nvml.used(&gpu.uuid) {
                Ok(used) => {
                    uuids.push(gpu.uuid.clone());
                    seen.push(PeakMemory {
                        device_id: gpu.device_id,
                        before: used,
                        peak: used,
                    });
                }
                Err(error) => {
                    tracing::info!("the memory of {gpu} will not be reported: {error}");
                    problem = problem.or(Some(error));
                }
            }
        }
        if let (true, Some(problem)) = (uuids.is_empty(), problem) {
            return Err(problem);
        }
        let watched = Arc::new(Watched {
            nvml,
            uuids,
            seen: Mutex::new(seen),
        });
        let (stop, stopped) = mpsc::channel();
        let thread = {
            let watched = Arc::clone(&watched);
            thread::spawn(move || {
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    watched.ask();
                }
            })
        };
        Ok(Self {
            watched,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What was seen so far, now included, in the order of the GPUs that are watched.
    pub(crate) fn so_far(&self) -> Vec<PeakMemory> {
        // A time shorter than the interval would have no answer of its own.
        self.watched.ask();
        let seen = &self.watched.seen;
        seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It holds nothing that a panic could break.
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::{super::nvml::tests::stand_in, *};

    const OFTEN: Duration = Duration::from_millis(1);
    /// No test gets there.
    const NEVER: Duration = Duration::from_secs(3600);

    fn watch(flags: &[&str], interval: Duration) -> Result<MemoryWatch, GpusError> {
        let nvml = stand_in(&[&["-DINIT=0", "-DCAPABILITY"], flags].concat())?;
        let mut gpus = nvml.installed()?.gpus;
        // As CUDA_VISIBLE_DEVICES=1,0 numbers them.
        gpus.reverse();
        for (device_id, gpu) in (0..).zip(&mut gpus) {
            gpu.device_id = device_id;
        }
        MemoryWatch::with(nvml, &gpus, interval)
    }

    fn peaks(watch: &MemoryWatch) -> Vec<(u64, u64)> {
        let seen = watch.so_far();
        seen.iter().map(|seen| (seen.before, seen.peak)).collect()
    }

    #[test]
    fn memory_that_does_not_change() {
        let watch = watch(&["-DUSED=0"], OFTEN).unwrap();
        let seen = |device_id, used| PeakMemory {
            device_id,
            before: used,
            peak: used,
        };
        assert_eq!(watch.so_far(), [seen(0, 2), seen(1, 3)]);
    }

    /// The first four answers, two to each question before the watch, are 0; then it is 40 for a while, and 0 again.
    const COMES_AND_GOES: &str = "-DUSED=(asked >= 4 && asked < 50 ? 40 : 0)";

    #[test]
    fn memory_that_comes_and_goes() {
        let watch = watch(&[COMES_AND_GOES], OFTEN).unwrap();
        let seen = |watch: &MemoryWatch| watch.watched.seen.lock().unwrap().clone();
        let begun = Instant::now();
        // Only the thread asks.
        while seen(&watch).iter().any(|seen| seen.peak < 40) {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "nothing was seen"
            );
            thread::sleep(OFTEN);
        }
        // Each asks for both GPUs, so the memory is 0 again long before the last.
        for _ in 0..50 {
            assert_eq!(peaks(&watch), [(2, 42), (3, 43)]);
        }
    }

    #[test]
    fn a_time_shorter_than_the_interval() {
        let watch = watch(&[COMES_AND_GOES], NEVER).unwrap();
        assert_eq!(peaks(&watch), [(2, 42), (3, 43)]);
    }

    #[test]
    fn gpus_that_do_not_answer_any_more() {
        let flags = [COMES_AND_GOES, "-DFAILS=(asked >= 6 ? 15 : 0)"];
        let watch = watch(&flags, NEVER).unwrap();
        for _ in 0..3 {
            assert_eq!(peaks(&watch), [(2, 42), (3, 43)]);
        }
    }

    #[test]
    fn gpus_that_do_not_answer_at_the_start() {
        let one = watch(&["-DUSED=0", "-DSILENT='2'"], NEVER).unwrap();
        let seen = one.so_far();
        assert_eq!((seen.len(), seen[0].device_id), (1, 1));
        let none = watch(&["-DUSED=0", "-DNO_NAMES"], NEVER).err().unwrap();
        let error = none.to_string();
        assert!(
            error.contains("nvmlDeviceGetHandleByUUID: the driver's library is too old"),
            "{error}"
        );
    }
}
