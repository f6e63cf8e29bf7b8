//! The driver and the GPUs.

use worldpm_ort_bundle::Bytes;

use super::finding::{Finding, Level};
use crate::host::gpu::{Gpu, GpusError, Installed, check_kernels, gpus, installed};

/// The GPUs that may be used, and what was found. That there is none is an error where one is `needed`.
pub(super) fn examine(needed: bool) -> (Vec<Gpu>, Vec<Finding>) {
    let lacking = match needed {
        true => Level::Error,
        false => Level::Warn,
    };
    match installed() {
        Ok(found) => of_machine(found, gpus(), lacking),
        Err(error) => (Vec::new(), vec![of_error(&error, lacking)]),
    }
}

fn of_machine(
    installed: Installed,
    usable: Result<Vec<Gpu>, GpusError>,
    lacking: Level,
) -> (Vec<Gpu>, Vec<Finding>) {
    let mut findings = vec![Finding::ok(
        "NVIDIA driver",
        format!("version {}", installed.driver),
    )];
    findings.extend(installed.failed.iter().map(|(index, problem)| {
        Finding::bad(
            Level::Error,
            &format!("GPU {index}"),
            format!("does not answer: {problem}"),
            "see nvidia-smi and the log of the system; a GPU that was lost comes back when the machine is restarted",
        )
    }));
    let usable = match usable {
        Ok(usable) => usable,
        Err(error) => {
            // Those that failed are listed above.
            if !matches!(error, GpusError::Failed { .. }) {
                findings.push(of_error(&error, lacking));
            }
            installed.gpus
        }
    };
    if usable.is_empty() {
        let found = "none that this process may use";
        findings.push(Finding::bad(
            lacking,
            "GPUs",
            found,
            "see CUDA_VISIBLE_DEVICES and nvidia-smi",
        ));
    }
    findings.extend(usable.iter().map(of_gpu));
    (usable, findings)
}

fn of_error(error: &GpusError, lacking: Level) -> Finding {
    let text = error.to_string();
    // The advice is the last part of the text.
    let (found, advice) = text.split_once("; ").unwrap_or((&text, ""));
    match error {
        GpusError::NoLibrary(_) => {
            let found = format!("{found}; bundles for the CPU need none");
            Finding::bad(lacking, "NVIDIA driver", found, advice)
        }
        GpusError::Driver { .. } => Finding::bad(lacking, "NVIDIA driver", found, advice),
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

    /// The checks and levels of what is found on a machine whose GPUs these are.
    fn found(installed: Installed, usable: Result<Vec<Gpu>, GpusError>) -> Vec<(String, Level)> {
        let findings = of_machine(installed, usable, Level::Error).1;
        let short = |finding: Finding| (finding.check, finding.level);
        findings.into_iter().map(short).collect()
    }

    fn levels(expected: &[(&str, Level)]) -> Vec<(String, Level)> {
        let owned = |&(check, level): &(&str, Level)| (check.to_owned(), level);
        expected.iter().map(owned).collect()
    }

    #[test]
    fn only_what_is_lacking_is_an_error_where_a_gpu_is_needed() {
        let machine = |gpus: &[Gpu]| Installed {
            gpus: gpus.to_vec(),
            ..Installed::default()
        };
        let driver = ("NVIDIA driver", Level::Ok);
        let taken = [gpu(1 << 30, (9, 0))];
        assert_eq!(
            found(machine(&taken), Ok(taken.to_vec())),
            levels(&[driver, ("GPU cuda:1", Level::Warn)])
        );
        assert_eq!(
            found(machine(&taken), Ok(Vec::new())),
            levels(&[driver, ("GPUs", Level::Error)])
        );
        let order = GpusError::Order("H100, B200".into());
        let free = [gpu(79 << 30, (9, 0))];
        assert_eq!(
            found(machine(&free), Err(order)),
            levels(&[driver, ("GPUs", Level::Warn), ("GPU cuda:1", Level::Ok)])
        );
        let silent = GpusError::Driver {
            call: "nvmlInit_v2",
            problem: "Driver Not Loaded".into(),
        };
        for level in [Level::Warn, Level::Error] {
            let finding = of_error(&silent, level);
            assert_eq!(
                (finding.check.as_str(), finding.level),
                ("NVIDIA driver", level)
            );
        }
    }

    #[test]
    fn gpus_that_are_lost_or_divided_are_told() {
        let free = [gpu(79 << 30, (9, 0))];
        let lost = Installed {
            gpus: free.to_vec(),
            failed: vec![(0, "nvmlDeviceGetHandleByIndex_v2: GPU is lost".into())],
            ..Installed::default()
        };
        let error = GpusError::Failed {
            index: 0,
            problem: "GPU is lost".into(),
        };
        let expected = [
            ("NVIDIA driver", Level::Ok),
            ("GPU 0", Level::Error),
            ("GPU cuda:1", Level::Ok),
        ];
        assert_eq!(found(lost, Err(error)), levels(&expected));
        let divided = of_error(
            &GpusError::InParts {
                gpu: "GPU 1 (H100)".into(),
            },
            Level::Error,
        );
        assert_eq!(divided.level, Level::Warn);
        assert!(
            divided.found.starts_with("GPU 1 (H100) is divided (MIG)"),
            "{divided:?}"
        );
        assert!(
            divided
                .advice
                .is_some_and(|advice| advice.contains("--device cuda:0"))
        );
    }

    #[test]
    fn errors_are_split_into_what_and_what_to_do() {
        let none = GpusError::NoLibrary("libnvidia-ml.so.1: not found".into());
        assert_eq!(of_error(&none, Level::Error).level, Level::Error);
        let found = of_error(&none, Level::Warn);
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
