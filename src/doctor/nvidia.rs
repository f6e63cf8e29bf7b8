//! The driver and the GPUs.

use worldpm_ort_export::plan::Bytes;

use super::{Finding, Level};
use crate::device::{Gpu, GpusError, check_kernels, gpus, installed};

/// The GPUs that may be used, and what was found.
pub(super) fn examine() -> (Vec<Gpu>, Vec<Finding>) {
    let found = match installed() {
        Ok(found) => found,
        Err(error) => return (Vec::new(), vec![of_error(&error)]),
    };
    let mut findings = vec![Finding::ok(
        "NVIDIA driver",
        format!("version {}", found.driver),
    )];
    let usable = match gpus() {
        Ok(usable) => usable,
        Err(error) => {
            findings.push(of_error(&error));
            found.gpus
        }
    };
    if usable.is_empty() {
        let found = "none that this process may use";
        findings.push(Finding::bad(
            Level::Warn,
            "GPUs",
            found,
            "see CUDA_VISIBLE_DEVICES and nvidia-smi",
        ));
    }
    findings.extend(usable.iter().map(of_gpu));
    (usable, findings)
}

fn of_error(error: &GpusError) -> Finding {
    let text = error.to_string();
    // The advice is the last part of the text.
    let (found, advice) = text.split_once("; ").unwrap_or((&text, ""));
    match error {
        GpusError::NoLibrary(_) => {
            let found = format!("{found}; bundles for the CPU need none");
            Finding::bad(Level::Warn, "NVIDIA driver", found, advice)
        }
        _ => Finding::bad(Level::Warn, "GPUs", found, advice),
    }
}

fn of_gpu(gpu: &Gpu) -> Finding {
    let check = format!("GPU cuda:{}", gpu.device_id);
    if let Err(error) = check_kernels(gpu) {
        let text = error.to_string();
        let (found, advice) = text.split_once("; ").unwrap_or((&text, ""));
        return Finding::bad(Level::Error, &check, found, advice);
    }
    let (major, minor) = gpu.capability;
    let found = format!(
        "{}, compute capability {major}.{minor}, {} free of {}",
        gpu.name,
        Bytes(gpu.free),
        Bytes(gpu.memory)
    );
    match gpu.free < gpu.memory / 2 {
        true => Finding::bad(
            Level::Warn,
            &check,
            found,
            "something else uses it: see nvidia-smi",
        ),
        false => Finding::ok(&check, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(free: u64, capability: (u16, u16)) -> Gpu {
        Gpu {
            device_id: 1,
            name: "H100".into(),
            uuid: "GPU-1".into(),
            memory: 80 << 30,
            free,
            capability,
        }
    }

    #[test]
    fn gpus_in_words() {
        let found = of_gpu(&gpu(79 << 30, (9, 0)));
        assert_eq!(
            found.found,
            "H100, compute capability 9.0, 79.00 GiB free of 80.00 GiB"
        );
        assert_eq!(
            (found.check.as_str(), found.level),
            ("GPU cuda:1", Level::Ok)
        );
        assert_eq!(of_gpu(&gpu(1 << 30, (9, 0))).level, Level::Warn);
        if cfg!(target_arch = "x86_64") {
            let found = of_gpu(&gpu(79 << 30, (10, 0)));
            assert_eq!(found.level, Level::Error);
            assert!(
                found
                    .advice
                    .is_some_and(|advice| advice.contains("CMAKE_CUDA_ARCHITECTURES=100"))
            );
        }
    }

    #[test]
    fn errors_are_split_into_what_and_what_to_do() {
        let found = of_error(&GpusError::NoLibrary("libnvidia-ml.so.1: not found".into()));
        assert_eq!(found.level, Level::Warn);
        assert!(
            found.found.ends_with("bundles for the CPU need none"),
            "{found:?}"
        );
        assert!(
            found
                .advice
                .is_some_and(|advice| advice.starts_with("install it, or in a container"))
        );
    }
}
