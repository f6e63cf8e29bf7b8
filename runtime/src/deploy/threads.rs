//! What each device of a pipeline gets of the host: threads, processors, and turns among the stages that share it.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use crate::{
    engine::Threads,
    ep::{Provider, Slot},
    error::{Error, OptionProblem, Result},
    host::memory,
};

/// The devices in use.
pub(crate) struct ThreadBudgets {
    devices: Vec<HostShare>,
}

/// What a device gets.
struct HostShare {
    /// Held by the stage that computes.
    turn: Arc<Mutex<()>>,
    stages: usize,
    threads: Threads,
}

impl ThreadBudgets {
    /// For the stages of every copy of the model in `slots`, of which each takes as much `work` for a pack.
    ///
    /// A single device on the CPU has the threads that all sessions of the process `shared`, unless another number of
    /// `threads` is wanted or they are to be pinned. Several divide the threads by their work.
    ///
    /// # Errors
    /// [`Error::Option`] when there are more devices on the CPU than threads.
    pub(crate) fn new(
        slots: &[Vec<Slot>],
        work: &[u64],
        threads: NonZeroUsize,
        shared: NonZeroUsize,
        pin: bool,
    ) -> Result<Self> {
        let count = slots.iter().flatten().map(|slot| slot.device + 1).max();
        let mut loads = vec![None; count.unwrap_or(0)];
        let mut stages = vec![0; loads.len()];
        for copy in slots {
            for (slot, work) in copy.iter().zip(work) {
                *loads[slot.device].get_or_insert(0) += work;
                stages[slot.device] += 1;
            }
        }
        let on_cpu = slots.iter().flatten();
        let on_cpu = on_cpu
            .map(|slot| &slot.provider)
            .any(|provider| *provider == Provider::Cpu);
        let cores = if pin { memory::cores() } else { Vec::new() };
        let used = loads.iter().flatten().count();
        let alone = used == 1 && threads == shared && cores.is_empty();
        let shares = match on_cpu && !alone {
            true => divided(&loads, threads, &cores)?,
            false => vec![Threads::Shared(shared); loads.len()],
        };
        let device = |(threads, stages)| HostShare {
            turn: Arc::default(),
            stages,
            threads,
        };
        Ok(Self {
            devices: shares.into_iter().zip(stages).map(device).collect(),
        })
    }

    pub(crate) fn threads(&self, slot: &Slot) -> Threads {
        self.devices[slot.device].threads.clone()
    }

    /// Whether other stages are on the same device.
    pub(crate) fn is_shared(&self, slot: &Slot) -> bool {
        self.devices[slot.device].stages > 1
    }

    pub(crate) fn turn(&self, slot: &Slot) -> Arc<Mutex<()>> {
        Arc::clone(&self.devices[slot.device].turn)
    }
}

/// Threads and processors of each device, by its load; a device without one is not in use.
fn divided(loads: &[Option<u64>], threads: NonZeroUsize, cores: &[usize]) -> Result<Vec<Threads>> {
    let used: Vec<u64> = loads.iter().flatten().copied().collect();
    if used.len() > threads.get() {
        return Err(Error::Option {
            option: "devices",
            problem: OptionProblem::TooManyDevices {
                devices: used.len(),
                threads: threads.get(),
            },
        });
    }
    let mut counts = divide(threads.get(), &used).into_iter();
    let mut begin = 0;
    let mut share = |load: &Option<u64>| {
        let count = load.and_then(|_| counts.next()).unwrap_or(0);
        let end = begin + count;
        let part = begin * cores.len() / threads.get()..end * cores.len() / threads.get();
        begin = end;
        Threads::Own {
            count: NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN),
            cores: cores.get(part).unwrap_or_default().to_vec(),
        }
    };
    Ok(loads.iter().map(&mut share).collect())
}

/// Divides threads so that the device that takes longest for its load takes as short as possible: one each, then always
/// one more for the one that takes longest.
fn divide(threads: usize, loads: &[u64]) -> Vec<usize> {
    let mut counts = vec![1; loads.len()];
    for _ in loads.len()..threads {
        let time = |device: &usize| loads[*device] as f64 / counts[*device] as f64;
        let mut slowest = 0;
        for device in 1..loads.len() {
            if time(&device) > time(&slowest) {
                slowest = device;
            }
        }
        if let Some(count) = counts.get_mut(slowest) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use worldpm_ort_bundle::Device;

    use super::*;
    use crate::ep::Devices;

    fn number(n: usize) -> NonZeroUsize {
        NonZeroUsize::new(n).unwrap()
    }

    /// Threads of each stage of each copy; the process has four.
    fn shares(
        devices: &str,
        work: &[u64],
        replicas: usize,
        threads: usize,
    ) -> Result<Vec<Threads>, String> {
        let devices: Devices = devices.parse().unwrap();
        let slots = devices.slots(Device::Cpu, work.len(), replicas).unwrap();
        let machine = ThreadBudgets::new(&slots, work, number(threads), number(4), false)
            .map_err(|error| error.to_string())?;
        let slots = slots.iter().flatten();
        Ok(slots.map(|slot| machine.threads(slot)).collect())
    }

    fn own(counts: &[usize]) -> Result<Vec<Threads>, String> {
        let own = |&count| Threads::Own {
            count: number(count),
            cores: Vec::new(),
        };
        Ok(counts.iter().map(own).collect())
    }

    #[test]
    fn one_device_has_the_threads_of_the_process() {
        let shared = Ok(vec![Threads::Shared(number(4)); 3]);
        assert_eq!(shares("cpu", &[1, 1, 1], 1, 4), shared);
        // Unless another number is wanted than the process has.
        assert_eq!(shares("cpu", &[1, 1, 1], 1, 2), own(&[2, 2, 2]));
    }

    #[test]
    fn several_devices_divide_the_threads_by_work() {
        assert_eq!(shares("cpu,cpu", &[5, 5], 1, 4), own(&[2, 2]));
        assert_eq!(shares("cpu,cpu", &[9, 3], 1, 4), own(&[3, 1]));
        // Two stages of the first device, one of the second.
        assert_eq!(shares("cpu,cpu", &[5, 5, 5], 1, 6), own(&[4, 4, 2]));
        assert_eq!(shares("cpu,cpu", &[5, 9], 2, 4), own(&[2, 2, 2, 2]));
    }

    #[test]
    fn devices_without_stages_get_nothing() {
        assert_eq!(shares("cpu,cpu,cpu,cpu", &[5, 5], 1, 8), own(&[4, 4]));
        assert_eq!(shares("cpu,cpu", &[5], 1, 8), own(&[8]));
        let shared = Ok(vec![Threads::Shared(number(4))]);
        assert_eq!(shares("cpu,cpu", &[5], 1, 4), shared);
    }

    #[test]
    fn more_devices_than_threads_are_refused() {
        let error = shares("cpu,cpu,cpu", &[1, 1, 1], 1, 2).unwrap_err();
        for says in ["3 devices", "there are 2", "--threads"] {
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn processors_are_divided_as_the_threads_are() {
        let cores = [4, 5, 6, 7, 8, 9, 10, 11];
        let parts = |threads, loads: &[Option<u64>]| -> Vec<Vec<usize>> {
            let shares = divided(loads, number(threads), &cores).unwrap();
            let part = |threads| match threads {
                Threads::Own { cores, .. } => cores,
                Threads::Shared(_) => panic!("nothing is shared"),
            };
            shares.into_iter().map(part).collect()
        };
        let three_to_one = parts(8, &[Some(3), None, Some(1)]);
        assert_eq!(three_to_one, [vec![4, 5, 6, 7, 8, 9], vec![], vec![10, 11]]);
        // Fewer threads than processors.
        assert_eq!(
            parts(2, &[Some(1), Some(1)]),
            [vec![4, 5, 6, 7], vec![8, 9, 10, 11]]
        );
    }

    proptest! {
        /// No other division of the threads has a faster slowest device.
        #[test]
        fn no_division_is_better(threads in 3_usize..12, loads in prop::array::uniform3(0_u64..100)) {
            let slowest = |counts: [usize; 3]| {
                let times = loads.iter().zip(counts).map(|(&load, count)| load as f64 / count as f64);
                times.fold(0.0, f64::max)
            };
            let counts: [usize; 3] = divide(threads, &loads).try_into().unwrap();
            prop_assert_eq!(counts.iter().sum::<usize>(), threads);
            for first in 1..threads - 1 {
                for second in 1..threads - first {
                    let other = [first, second, threads - first - second];
                    prop_assert!(slowest(counts) <= slowest(other), "{:?}, {:?}", counts, other);
                }
            }
        }
    }
}
