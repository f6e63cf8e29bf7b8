//! How the process gives memory back to the system.

/// Blocks of this size and more go back to the system as soon as they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const THRESHOLD: libc::c_int = 16 << 20;

/// Makes the C library return large blocks to the system as soon as they are freed.
///
/// While ONNX Runtime loads a model it converts each weight and frees the first form of it. By default
/// glibc keeps freed blocks of up to 32 MB for later, and the peak of resident memory then depends on
/// chance: at the 0.5B shape it lay between 1.6 and 1.9 GB, and with this call at 1.55 GB. Loading takes
/// longer for it (there, 2.5 s and not 1.8 s).
///
/// The setting is the whole process's, which is why a program makes this call and [`Scorer`](crate::Scorer)
/// does not; the command does. The environment variable `MALLOC_MMAP_THRESHOLD_=16777216` does the same.
/// Other C libraries are left as they are.
#[allow(unsafe_code)]
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two integers, may be called at any time, and reports failure by its result,
    // which leaves the default in place.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD);
    }
}
