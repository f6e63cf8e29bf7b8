//! The most memory of the GPUs that was in use over a time, which the driver does not keep: it is asked again and again.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Gpu, GpusError, nvml, nvml::Nvml};

/// How often the driver is asked. A question takes it some microseconds.
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
    seen: Arc<Mutex<Vec<PeakMemory>>>,
    /// Dropped to end the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryWatch {
    /// Begins to watch these GPUs of the machine.
    ///
    /// # Errors
    /// [`GpusError::NoLibrary`] and [`GpusError::Driver`] where the driver does not answer.
    pub(crate) fn start(gpus: &[Gpu]) -> Result<Self, GpusError> {
        Self::with(Nvml::open(nvml::LIBRARY)?, gpus, INTERVAL)
    }

    fn with(nvml: Nvml, gpus: &[Gpu], interval: Duration) -> Result<Self, GpusError> {
        let first = gpus.iter().map(|gpu| {
            let used = nvml.used(&gpu.uuid)?;
            Ok(PeakMemory {
                device_id: gpu.device_id,
                before: used,
                peak: used,
            })
        });
        let seen = Arc::new(Mutex::new(first.collect::<Result<Vec<_>, _>>()?));
        let uuids: Vec<String> = gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
        let (stop, stopped) = mpsc::channel();
        let thread = {
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    for (at, uuid) in uuids.iter().enumerate() {
                        // A GPU that does not answer once may do so the next time.
                        let Ok(used) = nvml.used(uuid) else { continue };
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen[at].peak = seen[at].peak.max(used);
                    }
                }
            })
        };
        Ok(Self {
            seen,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What was seen so far, in the order of the GPUs that are watched.
    pub(crate) fn so_far(&self) -> Vec<PeakMemory> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
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
    use super::{super::nvml::tests::stand_in, *};

    fn watch(used: &str) -> MemoryWatch {
        let nvml = stand_in(&["-DINIT=0", "-DCAPABILITY", &format!("-DUSED={used}")]).unwrap();
        let mut gpus = nvml.installed().unwrap().gpus;
        // As CUDA_VISIBLE_DEVICES=1,0 numbers them.
        gpus.reverse();
        for (device_id, gpu) in (0..).zip(&mut gpus) {
            gpu.device_id = device_id;
        }
        MemoryWatch::with(nvml, &gpus, Duration::from_millis(1)).unwrap()
    }

    #[test]
    fn memory_that_does_not_change() {
        let watch = watch("0");
        let seen = |device_id, used| PeakMemory {
            device_id,
            before: used,
            peak: used,
        };
        assert_eq!(watch.so_far(), [seen(0, 2), seen(1, 3)]);
    }

    #[test]
    fn memory_that_comes_and_goes() {
        // The first four answers, two to each question above, are 0; then it is 40 for a while, and 0 again.
        let watch = watch("(asked++ >= 4 && asked < 50 ? 40 : 0)");
        while watch.so_far().iter().any(|seen| seen.peak < 40) {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(100));
        let peaks: Vec<_> = watch
            .so_far()
            .iter()
            .map(|seen| (seen.before, seen.peak))
            .collect();
        assert_eq!(peaks, [(2, 42), (3, 43)]);
    }
}
