//! Whether an error means that a device is lost.

/// Errors after which the device cannot be used by this process any more, by their number and by what
/// `cudaGetErrorString` says of them.
///
/// CUDA's header `driver_types.h` (13.0) says of 226, 700, 702, 714 to 719 and 721: "This leaves the process in an
/// inconsistent state and any further CUDA work will return the same error. To continue using CUDA, the process must be
/// terminated and relaunched"; of 710 "The device cannot be used again"; of 810 and 911 that the process must be
/// terminated. 214 and 220 are memory and link errors of the hardware that were not corrected, after which CUDA's context
/// is gone, as it is with 709. The texts are those in `libcudart.so.13`.
const STICKY: [(u32, &str); 18] = [
    (214, "uncorrectable ECC error encountered"),
    (
        220,
        "uncorrectable NVLink error detected during the execution",
    ),
    (
        226,
        "Invalid access of peer GPU memory over nvlink or a hardware error",
    ),
    (700, "an illegal memory access was encountered"),
    (702, "the launch timed out and was terminated"),
    (709, "context is destroyed"),
    (710, "device-side assert triggered"),
    (714, "hardware stack error"),
    (715, "an illegal instruction was encountered"),
    (716, "misaligned address"),
    (
        717,
        "operation not supported on global/shared address space",
    ),
    (718, "invalid program counter"),
    (719, "unspecified launch failure"),
    (721, "tensor memory not completely freed"),
    (810, "the MPS client has been terminated by the server"),
    (911, "cudaErrorExternalDevice"),
    (700, "cudaErrorIllegalAddress"),
    (719, "cudaErrorLaunchFailure"),
];

/// Whether the text of an error says that a CUDA device can no longer be used by this process. Loading another session on
/// it, or running one that is loaded, would fail in the same way; only a new process helps.
///
/// Running out of memory is no such error: what did not fit has failed, and other work goes on.
///
/// The text is what ONNX Runtime gives: `CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; …`, with
/// the number of the error (`core/providers/cuda/cuda_call.cc`), or TensorRT's `Cuda Runtime (…)`, with its text alone.
/// Failures of cuBLAS and cuDNN do not count by themselves: their numbers do not say whether the device is at fault. If
/// it is, the next call of CUDA fails with an error that does.
#[must_use]
pub fn device_lost(problem: &str) -> bool {
    let problem = problem.to_ascii_lowercase();
    let said = |text: &str| problem.contains(&text.to_ascii_lowercase());
    STICKY.iter().any(|(_, text)| said(text))
        || numbers(&problem).any(|number| STICKY.iter().any(|(sticky, _)| *sticky == number))
}

/// The numbers of CUDA errors in a text in lower case.
fn numbers(problem: &str) -> impl Iterator<Item = u32> + '_ {
    ["cuda failure", "cuda error"]
        .into_iter()
        .flat_map(|words| problem.match_indices(words))
        .filter_map(|(at, words)| {
            let rest = problem[at + words.len()..].trim_start_matches([' ', ':']);
            let end = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            rest[..end].parse().ok()
        })
}

#[cfg(test)]
mod tests {
    use super::device_lost;

    /// As ONNX Runtime writes it.
    fn failure(number: u32, text: &str) -> String {
        format!(
            "Non-zero status code returned while running Gemm node. Name:'layers.3.mlp.up' Status Message: CUDA failure \
             {number}: {text} ; GPU=0 ; hostname=node7 ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/\
             gpu_data_transfer.cc ; line=73 ; expr=cudaMemcpyAsync(dst_data, src_data, bytes); "
        )
    }

    #[test]
    fn sticky_errors() {
        for (number, text) in [
            (214, "uncorrectable ECC error encountered"),
            (700, "an illegal memory access was encountered"),
            (702, "the launch timed out and was terminated"),
            (709, "context is destroyed"),
            (710, "device-side assert triggered"),
            (719, "unspecified launch failure"),
        ] {
            assert!(device_lost(&failure(number, text)), "{number}");
            assert!(device_lost(&failure(number, "")), "{number} by its number");
            assert!(
                device_lost(&format!("Error Code 1: Cuda Runtime ({text})")),
                "{number} in TensorRT's words"
            );
        }
    }

    #[test]
    fn a_sticky_error_after_another() {
        let both = format!("{} {}", failure(2, "out of memory"), failure(719, ""));
        assert!(device_lost(&both));
    }

    #[test]
    fn errors_that_others_can_go_on_after() {
        for problem in [
            failure(2, "out of memory"),
            failure(35, "CUDA driver version is insufficient for CUDA runtime version"),
            failure(100, "no CUDA-capable device is detected"),
            failure(209, "no kernel image is available for execution on the device"),
            failure(7, "too many resources requested for launch"),
            failure(70, ""),
            failure(7000, ""),
            "CUBLAS failure 700: no such status ; GPU=0".into(),
            "Failed to allocate memory for requested buffer of size 719".into(),
            "Non-zero status code returned while running Gather node. indices element out of data bounds, idx=700".into(),
            "node 'layers.700' has no kernel".into(),
            "CUDA failure".into(),
            "CUDA failure 99999999999999999999".into(),
            String::new(),
        ] {
            assert!(!device_lost(&problem), "{problem}");
        }
    }
}
