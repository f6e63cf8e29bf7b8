//! Whether an error means that memory did not do.

/// What says so: ONNX Runtime's arenas and allocators (`bfc_arena.cc`), CUDA (`cudaGetErrorString` of error 2), cuBLAS and
/// cuDNN, and the C++ library.
const SAID: [&str; 7] = [
    "failed to allocate memory",
    "is smaller than requested bytes of",
    "out of memory",
    "cuda failure 2:",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "bad_alloc",
];

/// Whether the text of an error of ONNX Runtime says that a run or a model did not fit. Other work goes on after it.
#[must_use]
pub fn out_of_memory(problem: &str) -> bool {
    let problem = problem.to_ascii_lowercase();
    SAID.iter().any(|said| problem.contains(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_out_of_memory_says_so() {
        for problem in [
            "Failed to allocate memory for requested buffer of size 1073741824",
            "Available memory of 1024 is smaller than requested bytes of 4096",
            "CUDA failure 2: out of memory ; GPU=0 ; hostname=a ; file=cuda_allocator.cc ; line=67 ; expr=cudaMalloc((void**)&p, size);",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
            "std::bad_alloc",
        ] {
            assert!(out_of_memory(problem), "{problem}");
        }
        for problem in [
            "CUDA failure 700: an illegal memory access was encountered ; GPU=0",
            "CUDA failure 209: no kernel image is available for execution on the device",
            "invalid data location",
        ] {
            assert!(!out_of_memory(problem), "{problem}");
        }
    }
}
