//! What a loaded library was built with.

use std::{
    ffi::{CStr, c_char, c_int},
    ptr,
};

use super::{EngineError, LibraryError, OnnxRuntime};

impl OnnxRuntime {
    /// The execution providers that the library was built with, as in `CUDAExecutionProvider`, in the order of their
    /// priority. Whether they can be loaded here is another matter.
    ///
    /// # Errors
    /// [`EngineError::Library`] when the library does not list them.
    #[allow(unsafe_code)]
    pub fn providers(&self) -> Result<Vec<String>, EngineError> {
        let fail = |status: ort::sys::OrtStatusPtr| -> Result<(), EngineError> {
            if status.0.is_null() {
                return Ok(());
            }
            // SAFETY: the status is the library's, and is released once.
            unsafe { (ort::api().ReleaseStatus)(status.0) };
            Err(LibraryError::NoProviders {
                path: self.path().to_owned(),
            }
            .into())
        };
        let mut names: *mut *mut c_char = ptr::null_mut();
        let mut count: c_int = 0;
        // SAFETY: both pointers are valid for the call. The library is loaded: `self` exists.
        fail(unsafe { (ort::api().GetAvailableProviders)(&raw mut names, &raw mut count) })?;
        let list = (0..usize::try_from(count).unwrap_or(0)).map(|index| {
            // SAFETY: the library gave so many names, each of which ends with a zero.
            let name = unsafe { CStr::from_ptr(*names.add(index)) };
            name.to_string_lossy().into_owned()
        });
        let list = list.collect();
        // SAFETY: the library gave these, and nothing refers to them any more.
        fail(unsafe { (ort::api().ReleaseAvailableProviders)(names, count) })?;
        Ok(list)
    }
}
