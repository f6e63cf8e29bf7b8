//! Which device each stage runs on, and why.

use worldpm_ort_bundle::{Device, Manifest, cost::StageMemory};

use super::{
    placement::{PlaceError, place},
    reason::PlacementReason,
    residency::Residency,
};
use crate::{
    ep::{CudaOptions, Devices, Provider, Slot},
    error::{Error, OptionProblem, Result},
    host::gpu::{Gpu, GpusError, check_kernels},
    options::ScorerOptions,
};

/// Devices for the stages of every copy of the model.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) slots: Vec<Vec<Slot>>,
    /// Why these, where they were not asked for.
    pub(crate) reason: Option<PlacementReason>,
    /// Bytes that are free on a GPU which does not hold the whole model.
    pub(crate) free: Option<u64>,
}

/// Places the stages of a bundle, each of which takes so much memory. `gpus` finds the machine's GPUs.
///
/// # Errors
/// [`Error::Provider`] for devices that do not fit the bundle or each other, [`Error::Option`] when the model fits on no
/// GPU that is there.
pub(crate) fn placed(
    manifest: &Manifest,
    options: &ScorerOptions,
    stages: &[StageMemory],
    gpus: impl FnOnce() -> Result<Vec<Gpu>, GpusError>,
) -> Result<Placed> {
    let replicas = options.replicas.map_or(1, std::num::NonZeroUsize::get);
    let listed = |reason| -> Result<Placed> {
        let count = manifest.stages.len();
        Ok(Placed {
            slots: options.devices.slots(manifest.device, count, replicas)?,
            reason,
            free: None,
        })
    };
    match (&options.devices, manifest.device) {
        (Devices::List(_), _) => listed(None),
        (Devices::Auto, Device::Cpu) => listed(Some(PlacementReason::Exported)),
        (Devices::Auto, Device::Cuda) => match gpus() {
            Ok(gpus) => on_gpus(options, stages, gpus),
            Err(unknown) => listed(Some(PlacementReason::FirstGpu { unknown })),
        },
    }
}

/// Places stages on the GPUs of the machine, in as many copies as fit or as were asked for.
fn on_gpus(options: &ScorerOptions, stages: &[StageMemory], gpus: Vec<Gpu>) -> Result<Placed> {
    let fail = |problem| Error::Option {
        option: "devices",
        problem,
    };
    let (mut left_out, mut usable) = (Vec::new(), Vec::new());
    for gpu in gpus {
        match check_kernels(&gpu) {
            Ok(()) => usable.push(Gpu {
                free: gpu.free.min(options.memory.unwrap_or(u64::MAX)),
                ..gpu
            }),
            Err(why) => left_out.push(why),
        }
    }
    if let (true, Some(why)) = (usable.is_empty(), left_out.first()) {
        return Err(fail(OptionProblem::NoKernels(why.clone())));
    }
    let slot = |gpu: &Gpu| Slot {
        device: usize::from(gpu.device_id),
        provider: Provider::Cuda(CudaOptions::new(gpu.device_id)),
    };
    let needed: Vec<u64> = stages.iter().map(StageMemory::total).collect();
    let fit = match options.residency {
        Residency::Streamed => None,
        _ => Some(place(&needed, &usable)),
    };
    let no_fit = match fit {
        Some(Ok(placement)) => {
            let fitting = placement.replicas.len();
            let wanted = options
                .replicas
                .map_or(fitting, std::num::NonZeroUsize::get);
            if wanted > fitting {
                return Err(fail(OptionProblem::TooManyReplicas {
                    wanted,
                    placement: placement.reason.to_string(),
                }));
            }
            let copy = |places: &Vec<usize>| places.iter().map(|&gpu| slot(&usable[gpu])).collect();
            return Ok(Placed {
                slots: placement.replicas.iter().take(wanted).map(copy).collect(),
                reason: Some(PlacementReason::Fits {
                    placement: placement.reason,
                    left_out,
                }),
                free: None,
            });
        }
        Some(Err(error @ PlaceError::NoFit { .. }))
            if options.residency == Residency::Auto && stages.len() > 1 =>
        {
            Some(error)
        }
        Some(Err(error)) => return Err(fail(OptionProblem::NoPlace(error))),
        None => None,
    };
    if options.replicas.is_some_and(|copies| copies.get() > 1) {
        return Err(copies_of_streamed());
    }
    let roomiest = usable.iter().max_by_key(|gpu| gpu.free);
    let roomiest = roomiest.ok_or_else(|| fail(OptionProblem::NoPlace(PlaceError::NoGpus)))?;
    Ok(Placed {
        slots: vec![vec![slot(roomiest); stages.len()]],
        reason: Some(PlacementReason::Roomiest {
            free: roomiest.free,
            no_fit,
            left_out,
        }),
        free: Some(roomiest.free),
    })
}

/// Several copies of a model were asked for that is streamed.
pub(crate) fn copies_of_streamed() -> Error {
    Error::Option {
        option: "replicas",
        problem: OptionProblem::StreamedReplicas,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn gpu(device_id: u16, free: u64, capability: (u16, u16)) -> Gpu {
        Gpu {
            device_id,
            name: "H100".into(),
            uuid: String::new(),
            memory: 80 * GIB,
            free: free * GIB,
            capability,
        }
    }

    fn stages(sizes: &[u64]) -> Vec<StageMemory> {
        let stage = |&size| StageMemory {
            weights: size * GIB,
            ..StageMemory::default()
        };
        sizes.iter().map(stage).collect()
    }

    fn on(options: &ScorerOptions, sizes: &[u64], gpus: Vec<Gpu>) -> Result<(String, Option<u64>)> {
        let placed = on_gpus(options, &stages(sizes), gpus)?;
        let text = |copy: &Vec<Slot>| {
            let names = copy.iter().map(|slot| slot.provider.to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        let copies: Vec<_> = placed.slots.iter().map(text).collect();
        assert!(
            placed
                .reason
                .is_some_and(|reason| !reason.to_string().is_empty())
        );
        Ok((copies.join(" | "), placed.free))
    }

    fn hopper(free: &[u64]) -> Vec<Gpu> {
        (0..)
            .zip(free)
            .map(|(id, &free)| gpu(id, free, (9, 0)))
            .collect()
    }

    #[test]
    fn as_many_copies_as_fit_or_as_are_wanted() {
        let options = ScorerOptions::default();
        let found = on(&options, &[70, 68], hopper(&[79; 4])).unwrap().0;
        assert_eq!(found, "cuda:0 cuda:1 | cuda:2 cuda:3");
        let one = options.clone().with_replicas(NonZeroUsize::MIN);
        assert_eq!(
            on(&one, &[70, 68], hopper(&[79; 4])).unwrap().0,
            "cuda:0 cuda:1"
        );
        let three = options.with_replicas(NonZeroUsize::new(3).unwrap());
        let error = on(&three, &[70, 68], hopper(&[79; 4]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("3 copies of the model were asked for"),
            "{error}"
        );
    }

    #[test]
    fn what_does_not_fit_is_streamed_where_that_is_possible() {
        let options = ScorerOptions::default();
        let (found, free) = on(&options, &[20, 20, 20], hopper(&[24, 30])).unwrap();
        assert_eq!(
            (found.as_str(), free),
            ("cuda:1 cuda:1 cuda:1", Some(30 * GIB))
        );
        let error = on(&options, &[60], hopper(&[24, 30]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("does not fit"), "{error}");
        let resident = options.clone().with_residency(Residency::Resident);
        assert!(on(&resident, &[20, 20, 20], hopper(&[24, 30])).is_err());
        let streamed = options.with_residency(Residency::Streamed);
        let (found, free) = on(&streamed, &[2, 2], hopper(&[24, 30])).unwrap();
        assert_eq!((found.as_str(), free), ("cuda:1 cuda:1", Some(30 * GIB)));
    }

    #[test]
    fn copies_of_what_is_streamed_are_refused() {
        let options = ScorerOptions::default();
        let streamed = options.clone().with_residency(Residency::Streamed);
        for (options, sizes) in [(options, [20, 20, 20]), (streamed, [2, 2, 2])] {
            let gpus = || hopper(&[24, 30]);
            let two = options.clone().with_replicas(NonZeroUsize::new(2).unwrap());
            let error = on(&two, &sizes, gpus()).unwrap_err().to_string();
            assert!(
                error.contains("`replicas`: copies of a model that is streamed"),
                "{error}"
            );
            let one = options.with_replicas(NonZeroUsize::MIN);
            assert_eq!(on(&one, &sizes, gpus()).unwrap().0, "cuda:1 cuda:1 cuda:1");
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn gpus_without_kernels_are_left_out() {
        let options = ScorerOptions::default();
        let gpus = vec![gpu(0, 170, (10, 0)), gpu(1, 79, (9, 0))];
        assert_eq!(on(&options, &[70], gpus).unwrap().0, "cuda:1");
        let error = on(&options, &[70], vec![gpu(0, 170, (10, 0))])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("compute capability 10.0") && error.contains("--device"),
            "{error}"
        );
        assert!(
            on(&options, &[70], Vec::new())
                .unwrap_err()
                .to_string()
                .contains("no GPU")
        );
    }
}
