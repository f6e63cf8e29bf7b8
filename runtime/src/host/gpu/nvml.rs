//! What NVIDIA's management library reports. It is a part of the driver and loaded when it is asked, so that the program runs
//! without it.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};

use libloading::Library;

use super::types::{Gpu, GpusError, Installed};
use crate::host::dl;

/// The library's name. The dynamic loader knows where the driver put it.
pub(super) const LIBRARY: &str = "libnvidia-ml.so.1";

/// `NVML_DEVICE_NAME_V2_BUFFER_SIZE` and `NVML_DEVICE_UUID_V2_BUFFER_SIZE`, the longest texts that are asked for.
const TEXT: usize = 96;

/// `nvmlMemory_t`.
#[repr(C)]
#[derive(Default)]
struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// `nvmlDevice_t`: a handle that is only passed back.
type Device = *mut c_void;

type Call = unsafe extern "C" fn() -> c_int;
type ErrorText = unsafe extern "C" fn(c_int) -> *const c_char;
type SystemText = unsafe extern "C" fn(*mut c_char, c_uint) -> c_int;
type Count = unsafe extern "C" fn(*mut c_uint) -> c_int;
type Handle = unsafe extern "C" fn(c_uint, *mut Device) -> c_int;
type HandleByName = unsafe extern "C" fn(*const c_char, *mut Device) -> c_int;
type DeviceText = unsafe extern "C" fn(Device, *mut c_char, c_uint) -> c_int;
type DeviceMemory = unsafe extern "C" fn(Device, *mut Memory) -> c_int;
type Capability = unsafe extern "C" fn(Device, *mut c_int, *mut c_int) -> c_int;
type MigMode = unsafe extern "C" fn(Device, *mut c_uint, *mut c_uint) -> c_int;

/// `NVML_ERROR_NOT_SUPPORTED` and `NVML_ERROR_FUNCTION_NOT_FOUND`.
const UNKNOWN_TO_IT: [c_int; 2] = [3, 13];
/// `NVML_DEVICE_MIG_ENABLE`.
const MIG_ENABLED: c_uint = 1;

/// NVML, started; dropping it ends that.
pub(super) struct Nvml {
    library: Library,
}

impl Nvml {
    /// Loads the library `name` and starts it.
    #[allow(unsafe_code)]
    pub(super) fn open(name: &str) -> Result<Self, GpusError> {
        // SAFETY: the library's initialisers are NVIDIA's own, made for being loaded into any process.
        let library = unsafe { Library::new(name) }
            .map_err(|error| GpusError::NoLibrary(dl::problem(&error)))?;
        call(&library, "nvmlInit_v2", |f: Call| {
            // SAFETY: it takes nothing and may be called at any time.
            unsafe { f() }
        })?;
        Ok(Self { library })
    }

    /// The driver and the GPUs.
    #[allow(unsafe_code)]
    pub(super) fn installed(&self) -> Result<Installed, GpusError> {
        let driver = self.text(
            "nvmlSystemGetDriverVersion",
            |f: SystemText, buffer, size| {
                // SAFETY: the buffer has `size` bytes.
                unsafe { f(buffer, size) }
            },
        )?;
        let mut count: c_uint = 0;
        self.call("nvmlDeviceGetCount_v2", |f: Count| {
            // SAFETY: `count` is valid for the call.
            unsafe { f(&raw mut count) }
        })?;
        let mut installed = Installed {
            driver,
            ..Installed::default()
        };
        for index in 0..count {
            let Ok(device_id) = u16::try_from(index) else {
                break;
            };
            match self.gpu(index, device_id) {
                Ok((gpu, in_parts)) => {
                    if in_parts {
                        installed.in_parts.push(device_id);
                    }
                    installed.gpus.push(gpu);
                }
                // The others may be used all the same.
                Err(GpusError::Driver { call, problem }) => {
                    installed.failed.push((index, format!("{call}: {problem}")));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(installed)
    }

    /// Bytes of the memory of the GPU of this name (`GPU-…`) that are in use, by any process.
    #[allow(unsafe_code)]
    pub(super) fn used(&self, uuid: &str) -> Result<u64, GpusError> {
        let name = CString::new(uuid).unwrap_or_default();
        let mut device: Device = std::ptr::null_mut();
        self.call("nvmlDeviceGetHandleByUUID", |f: HandleByName| {
            // SAFETY: the name ends with a zero, and `device` is valid for the call.
            unsafe { f(name.as_ptr(), &raw mut device) }
        })?;
        let memory = self.memory(device)?;
        Ok(memory.total.saturating_sub(memory.free))
    }

    #[allow(unsafe_code)]
    fn memory(&self, device: Device) -> Result<Memory, GpusError> {
        let mut memory = Memory::default();
        self.call("nvmlDeviceGetMemoryInfo", |f: DeviceMemory| {
            // SAFETY: the library gave the handle; `memory` has the layout of `nvmlMemory_t`.
            unsafe { f(device, &raw mut memory) }
        })?;
        Ok(memory)
    }

    /// Whether the GPU is divided (MIG), so that CUDA shows a part of it.
    #[allow(unsafe_code)]
    fn in_parts(&self, device: Device) -> Result<bool, GpusError> {
        const NAME: &str = "nvmlDeviceGetMigMode";
        let (mut current, mut pending): (c_uint, c_uint) = (0, 0);
        let code = ask(&self.library, NAME, |f: MigMode| {
            // SAFETY: the library gave the handle, and both numbers are valid for the call.
            unsafe { f(device, &raw mut current, &raw mut pending) }
        });
        match code {
            // Neither GPUs nor libraries that are older than MIG know of it.
            None => Ok(false),
            Some(code) if UNKNOWN_TO_IT.contains(&code) => Ok(false),
            Some(0) => Ok(current == MIG_ENABLED),
            Some(code) => Err(GpusError::Driver {
                call: NAME,
                problem: error_text(&self.library, code),
            }),
        }
    }

    /// A GPU, and whether it is divided.
    #[allow(unsafe_code)]
    fn gpu(&self, index: c_uint, device_id: u16) -> Result<(Gpu, bool), GpusError> {
        let mut device: Device = std::ptr::null_mut();
        self.call("nvmlDeviceGetHandleByIndex_v2", |f: Handle| {
            // SAFETY: `device` is valid for the call.
            unsafe { f(index, &raw mut device) }
        })?;
        let text = |call| {
            self.text(call, |f: DeviceText, buffer, size| {
                // SAFETY: the library gave the handle, and the buffer has `size` bytes.
                unsafe { f(device, buffer, size) }
            })
        };
        let (name, uuid) = (text("nvmlDeviceGetName")?, text("nvmlDeviceGetUUID")?);
        let memory = self.memory(device)?;
        let (mut major, mut minor): (c_int, c_int) = (0, 0);
        self.call("nvmlDeviceGetCudaComputeCapability", |f: Capability| {
            // SAFETY: the library gave the handle, and both numbers are valid for the call.
            unsafe { f(device, &raw mut major, &raw mut minor) }
        })?;
        let number = |number: c_int| u16::try_from(number).unwrap_or_default();
        let gpu = Gpu {
            device_id,
            name,
            uuid,
            memory: memory.total,
            free: memory.free,
            capability: (number(major), number(minor)),
        };
        Ok((gpu, self.in_parts(device)?))
    }

    fn text<F: Copy>(
        &self,
        name: &'static str,
        ask: impl FnOnce(F, *mut c_char, c_uint) -> c_int,
    ) -> Result<String, GpusError> {
        let mut buffer = [0_u8; TEXT];
        self.call(name, |f: F| {
            ask(f, buffer.as_mut_ptr().cast(), TEXT as c_uint)
        })?;
        Ok(CStr::from_bytes_until_nul(&buffer)
            .map(|text| text.to_string_lossy().into_owned())
            .unwrap_or_default())
    }

    fn call<F: Copy>(
        &self,
        name: &'static str,
        ask: impl FnOnce(F) -> c_int,
    ) -> Result<(), GpusError> {
        call(&self.library, name, ask)
    }
}

impl Drop for Nvml {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // What was started is ended, and its result says nothing about the GPUs.
        let _ = self.call("nvmlShutdown", |f: Call| {
            // SAFETY: it ends the `nvmlInit_v2` of `open`.
            unsafe { f() }
        });
    }
}

/// Calls the function `name`, whose type `F` must be; its result says whether it did what it should.
fn call<F: Copy>(
    library: &Library,
    name: &'static str,
    call: impl FnOnce(F) -> c_int,
) -> Result<(), GpusError> {
    let problem = match ask(library, name, call) {
        Some(0) => return Ok(()),
        Some(code) => error_text(library, code),
        None => "the driver's library is too old and lacks it".to_owned(),
    };
    Err(GpusError::Driver {
        call: name,
        problem,
    })
}

/// What the function `name`, whose type `F` must be, returns; `None` where the library has none of that name.
#[allow(unsafe_code)]
fn ask<F: Copy>(
    library: &Library,
    name: &'static str,
    call: impl FnOnce(F) -> c_int,
) -> Option<c_int> {
    // SAFETY: the types at the top of this file are those of nvml.h, and every call here names its own.
    let function = unsafe { library.get::<F>(name.as_bytes()) }.ok()?;
    Some(call(*function))
}

#[allow(unsafe_code)]
fn error_text(library: &Library, code: c_int) -> String {
    // SAFETY: the type is that of nvml.h.
    let Ok(function) = (unsafe { library.get::<ErrorText>(b"nvmlErrorString") }) else {
        return format!("error {code}");
    };
    // SAFETY: it takes any number and returns a text that stays.
    let text = unsafe { function(code) };
    if text.is_null() {
        return format!("error {code}");
    }
    // SAFETY: not null, and ends with a zero, as nvml.h says.
    let text = unsafe { CStr::from_ptr(text) };
    format!("{} (error {code})", text.to_string_lossy())
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use std::{fs, process::Command};

    use super::*;

    /// A library with NVML's functions and two made-up GPUs, built by the C compiler.
    const STAND_IN: &str = r#"
        #include <string.h>
        typedef struct { unsigned long long total, free, used; } memory;
        int nvmlInit_v2(void) { return INIT; }
        int nvmlShutdown(void) { return 0; }
        const char *nvmlErrorString(int code) {
            return code == 9 ? "Driver Not Loaded" : code == 15 ? "GPU is lost" : "Unknown Error"; }
        int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "580.65.06", size); return 0; }
        int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
        #ifndef LOST
        #define LOST 9
        #endif
        int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **device) {
            *device = (void *)(long)(i + 7); return i == LOST ? 15 : 0; }
        int nvmlDeviceGetName(void *device, char *text, unsigned size) {
            memset(text, 'x', size); strcpy(text, device == (void *)7 ? "NVIDIA H100" : "NVIDIA B200"); return 0; }
        int nvmlDeviceGetUUID(void *device, char *text, unsigned size) {
            strncpy(text, device == (void *)7 ? "GPU-1" : "GPU-2", size); return 0; }
        #ifndef NO_NAMES
        #ifndef SILENT
        #define SILENT '9'
        #endif
        int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
            *device = (void *)(long)(uuid[4] - '1' + 7); return uuid[4] == SILENT ? 15 : 0; }
        #endif
        #ifndef FAILS
        #define FAILS 0
        #endif
        int nvmlDeviceGetMemoryInfo(void *device, memory *m) {
            static int count;
            int asked = __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
            m->total = 80; m->free = 70 + (long)device - USED; return FAILS; }
        #ifdef MIG
        int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
            *current = *pending = device == (void *)8; return MIG; }
        #endif
        #ifdef CAPABILITY
        int nvmlDeviceGetCudaComputeCapability(void *d, int *major, int *minor) { *major = 9 + (d == (void *)8); *minor = 0; return 0; }
        #endif
    "#;

    /// The stand-in. `flags` are the C compiler's: `INIT` is what NVML answers when it is started, `USED` the bytes that are
    /// taken of each GPU and `FAILS` the answer to that question, both of which may depend on how often it was `asked`.
    /// `LOST` is the number of a GPU that is lost, `SILENT` the end of the name of one that is not found by name;
    /// `NO_NAMES` leaves that function out. `MIG` is the answer to the question for MIG, which is on for the second GPU.
    pub(in crate::host::gpu) fn stand_in(flags: &[&str]) -> Result<Nvml, GpusError> {
        let place = tempfile::tempdir().unwrap();
        let (source, library) = (place.path().join("nvml.c"), place.path().join("nvml.so"));
        fs::write(&source, STAND_IN).unwrap();
        let mut command = Command::new("cc");
        command
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source);
        assert!(command.args(flags).status().unwrap().success());
        Nvml::open(library.to_str().unwrap())
    }

    #[test]
    fn what_the_library_says_is_read() {
        let nvml = stand_in(&["-DINIT=0", "-DUSED=0", "-DCAPABILITY"]).unwrap();
        let found = nvml.installed().unwrap();
        assert_eq!(found.driver, "580.65.06");
        let gpu = |device_id, name: &str, uuid: &str, free, capability| Gpu {
            device_id,
            name: name.into(),
            uuid: uuid.into(),
            memory: 80,
            free,
            capability,
        };
        let expected = [
            gpu(0, "NVIDIA H100", "GPU-1", 77, (9, 0)),
            gpu(1, "NVIDIA B200", "GPU-2", 78, (10, 0)),
        ];
        assert_eq!(found.gpus, expected);
        let used = ["GPU-1", "GPU-2"].map(|uuid| nvml.used(uuid).unwrap());
        assert_eq!(used, [3, 2]);
    }

    #[test]
    fn a_driver_that_does_not_answer() {
        let silent = stand_in(&["-DINIT=9", "-DUSED=0", "-DCAPABILITY"]);
        let error = silent.err().unwrap().to_string();
        assert!(
            error.contains("nvmlInit_v2: Driver Not Loaded (error 9); try nvidia-smi"),
            "{error}"
        );
        let old = stand_in(&["-DINIT=0", "-DUSED=0"]).unwrap();
        let found = old.installed().unwrap();
        assert_eq!(found.gpus, []);
        let problem =
            "nvmlDeviceGetCudaComputeCapability: the driver's library is too old and lacks it";
        assert_eq!(found.failed, [0, 1].map(|index| (index, problem.into())));
    }

    #[test]
    fn a_gpu_that_is_lost_hides_no_other() {
        let nvml = stand_in(&["-DINIT=0", "-DUSED=0", "-DCAPABILITY", "-DLOST=0"]).unwrap();
        let found = nvml.installed().unwrap();
        let names: Vec<_> = found.gpus.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["cuda:1 (NVIDIA B200)"]);
        let problem = "nvmlDeviceGetHandleByIndex_v2: GPU is lost (error 15)";
        assert_eq!(found.failed, [(0, problem.into())]);
    }

    #[test]
    fn gpus_that_are_divided() {
        let found = |mig: &[&str]| {
            let flags = [&["-DINIT=0", "-DUSED=0", "-DCAPABILITY"], mig].concat();
            stand_in(&flags).unwrap().installed().unwrap()
        };
        let divided = found(&["-DMIG=0"]);
        assert_eq!((divided.gpus.len(), divided.in_parts), (2, vec![1]));
        for none in [&[][..], &["-DMIG=3"], &["-DMIG=13"]] {
            let whole = found(none);
            assert_eq!((whole.in_parts, whole.failed), (vec![], vec![]), "{none:?}");
        }
        let problem = "nvmlDeviceGetMigMode: Unknown Error (error 4)";
        let silent = found(&["-DMIG=4"]).failed;
        assert_eq!(silent, [0, 1].map(|index| (index, problem.into())));
    }

    #[test]
    fn no_driver() {
        let error = Nvml::open("libno-such-nvml.so.1").err().unwrap();
        assert!(
            matches!(&error, GpusError::NoLibrary(text) if text.contains("libno-such-nvml.so.1")),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .starts_with("no NVIDIA driver was found ("),
            "{error}"
        );
    }
}
