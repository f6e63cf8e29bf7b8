//! Whether ONNX Runtime has kernels for a GPU.

use super::types::Gpu;

/// The compute capabilities that the CUDA provider of the `onnxruntime-gpu` packages for x86-64 is built for. Read from the
/// device code in the package of version 1.31.1, which has machine code for these alone and nothing that a driver could
/// translate for others.
const BUILT_FOR: [(u16, u16); 6] = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (12, 0)];

/// A GPU that ONNX Runtime has no kernels for.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{gpu} has compute capability {}.{}, and the onnxruntime-gpu packages for x86-64 have kernels for {} only \
     (read from version 1.31.1); use another GPU, or build ONNX Runtime for this one \
     (CMAKE_CUDA_ARCHITECTURES={}{}) and name the library with --ort-lib",
    .capability.0, .capability.1, list(), .capability.0, .capability.1
)]
pub struct NoKernels {
    /// The GPU.
    pub gpu: String,
    /// Its compute capability.
    pub capability: (u16, u16),
}

fn list() -> String {
    BUILT_FOR
        .map(|(major, minor)| format!("{major}.{minor}"))
        .join(", ")
}

/// Checks that the published CUDA provider has kernels for a GPU: machine code runs on the capability that it is for and on
/// later ones of the same generation. What other builds of the library hold is not known, nor what those for other
/// processors than x86-64 hold, and nothing is refused there.
///
/// # Errors
/// [`NoKernels`] says what the provider is built for, and what to do.
pub fn check_kernels(gpu: &Gpu) -> Result<(), NoKernels> {
    let (major, minor) = gpu.capability;
    let runs = |built: &(u16, u16)| built.0 == major && built.1 <= minor;
    if cfg!(not(target_arch = "x86_64")) || BUILT_FOR.iter().any(runs) {
        return Ok(());
    }
    Err(NoKernels {
        gpu: gpu.to_string(),
        capability: gpu.capability,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn generations() {
        for (capability, runs) in [
            ((7, 0), false),
            ((7, 5), true),
            ((8, 0), true),
            ((8, 6), true),
            ((8, 7), true),
            ((8, 9), true),
            ((9, 0), true),
            ((10, 0), false),
            ((10, 3), false),
            ((12, 0), true),
            ((12, 1), true),
            ((13, 0), false),
        ] {
            let gpu = Gpu {
                device_id: 3,
                name: "B200".into(),
                uuid: String::new(),
                memory: 0,
                free: 0,
                capability,
            };
            assert_eq!(check_kernels(&gpu).is_ok(), runs, "{capability:?}");
            if let ((10, 0), Err(error)) = (capability, check_kernels(&gpu)) {
                let text = error.to_string();
                assert!(
                    text.starts_with("cuda:3 (B200) has compute capability 10.0, "),
                    "{text}"
                );
                assert!(
                    text.contains("7.5, 8.0, 8.6, 8.9, 9.0, 12.0 only"),
                    "{text}"
                );
                assert!(text.contains("CMAKE_CUDA_ARCHITECTURES=100)"), "{text}");
            }
        }
    }
}
