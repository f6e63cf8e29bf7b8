//! The `worldpm-ort` command.

use std::process::ExitCode;

/// A server frees on one thread what another has allocated, all the time: with glibc's allocator its threads wait for each
/// other, at half the conversations a second. ONNX Runtime allocates by the C library still.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h: milliseconds until memory that was freed goes back to the system.
const PURGE_DELAY: std::ffi::c_int = 15;

fn main() -> ExitCode {
    return_memory_at_once();
    worldpm_ort::cli::main()
}

/// By default mimalloc keeps freed memory for 10 ms, and a large record or a tokenizer leaves a peak of twice its size. To
/// give it back costs a server nothing that can be measured.
#[allow(unsafe_code)]
fn return_memory_at_once() {
    // SAFETY: sets a number, before there is a second thread.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) }
}
