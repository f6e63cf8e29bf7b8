//! Why ONNX Runtime refused a provider, and what to install.
//!
//! What it says itself is the first thing that its loader stumbled over. Here the machine is looked at once it has
//! failed, so that the error names everything that is missing.

use std::path::Path;

use super::{Provider, ProviderError, StageContext, tensorrt::NODES_ELSEWHERE};
use crate::host::dl::needed::missing;

/// Which software libraries come with, by the beginnings of their names.
const SOFTWARE: [(&str, &str); 8] = [
    ("libcuda.so", DRIVER),
    ("libcudart.", CUDA),
    ("libcublas", CUDA),
    ("libcurand.", CUDA),
    ("libcufft.", CUDA),
    ("libcudnn", "cuDNN"),
    ("libnvinfer", TENSORRT),
    ("libnvonnxparser", TENSORRT),
];
const DRIVER: &str =
    "NVIDIA's driver (in a container: start it with access to the GPUs, as --gpus all does)";
const CUDA: &str = "the CUDA toolkit";
const TENSORRT: &str = "TensorRT";

/// What ONNX Runtime says of a graph that a provider does not take whole.
pub(super) const NODES_ON_CPU: &str = "assigned to the default CPU EP";

/// What ONNX Runtime and CUDA say that has a known cause: their words, the cause, and what to do.
const FAILURES: &[(&str, &str, &str)] = &[
    (
        "CUDA failure 35:",
        "the driver is older than the CUDA that the library was built for",
        "Install a newer driver (580 or newer for CUDA 13)",
    ),
    (
        "CUDA failure 100:",
        "the driver finds no GPU",
        "Check nvidia-smi and CUDA_VISIBLE_DEVICES",
    ),
    (
        "Invalid device ID",
        "there is no such device",
        "Check nvidia-smi and CUDA_VISIBLE_DEVICES; devices are counted from 0",
    ),
    (
        "CUDA failure 101:",
        "there is no such device",
        "Check nvidia-smi and CUDA_VISIBLE_DEVICES; devices are counted from 0",
    ),
    (
        "CUDA failure 209:",
        "the library has no code for this GPU's compute capability",
        "Use a build of ONNX Runtime for it: the one on the Python index has 7.5, 8.0, 8.6, 8.9, 9.0 and 12.0",
    ),
    (
        "CUDA failure 803:",
        "the versions of the driver and of its libcuda.so.1 differ",
        "Restart after installing a driver, and leave no compatibility package of CUDA on LD_LIBRARY_PATH",
    ),
    (
        "is smaller than requested bytes of",
        "the arena has reached its limit, gpu_mem_limit",
        "Raise gpu_mem_limit, or export with more --stages (`worldpm-ort plan` shows what fits)",
    ),
    ("out of memory", NO_MEMORY, MORE_STAGES),
    ("Failed to allocate memory", NO_MEMORY, MORE_STAGES),
    (
        NODES_ON_CPU,
        "it does not take every node of the graph, and no node may run on the CPU instead",
        "`worldpm-ort inspect` lists the operators of a bundle; an export with --target onnx has standard ones only",
    ),
    (
        NODES_ELSEWHERE,
        "TensorRT does not take the whole graph, and the rest would run on CUDA",
        "Use TensorRT 10.15 or newer, which parses RMSNormalization and RotaryEmbedding, or --device cuda",
    ),
    (
        "has no associated shape profiles",
        "TensorRT does not take the whole graph",
        "Use TensorRT 10.15 or newer, which parses RMSNormalization and RotaryEmbedding",
    ),
];

const NO_MEMORY: &str = "the device has too little free memory";
const MORE_STAGES: &str =
    "Free it, or export with more --stages for more devices (`worldpm-ort plan` shows what fits)";

/// What is known of the machine.
#[derive(Clone, Debug, Default)]
struct Surroundings {
    /// File of the provider that is not beside ONNX Runtime's library.
    no_file: Option<&'static str>,
    /// Libraries that the provider needs and that are not found.
    missing: Vec<String>,
}

/// Says of ONNX Runtime's refusal why, and what to do; as it is where that is not known.
pub(super) fn explain(
    provider: &Provider,
    context: &StageContext<'_>,
    problem: &str,
) -> ProviderError {
    let machine = look(provider, context.library);
    match reason(provider, &machine, context.library_version, problem) {
        Some((problem, remedy)) => ProviderError::Unusable {
            device: provider.to_string(),
            library: context.library.to_owned(),
            problem,
            remedy,
        },
        None => ProviderError::Runtime(problem.to_owned()),
    }
}

fn files(provider: &Provider) -> &'static [&'static str] {
    const CUDA: &str = "libonnxruntime_providers_cuda.so";
    const SHARED: &str = "libonnxruntime_providers_shared.so";
    const TENSORRT: &str = "libonnxruntime_providers_tensorrt.so";
    match provider {
        Provider::Cpu | Provider::Plugin(_) => &[],
        Provider::Cuda(_) => &[SHARED, CUDA],
        Provider::TensorRt(_) => &[SHARED, TENSORRT, CUDA],
    }
}

fn look(provider: &Provider, library: &Path) -> Surroundings {
    // ONNX Runtime looks beside the file that a link leads to.
    let library = library
        .canonicalize()
        .unwrap_or_else(|_| library.to_owned());
    let mut machine = Surroundings::default();
    for name in files(provider) {
        let path = library.with_file_name(name);
        if !path.is_file() {
            machine.no_file = machine.no_file.or(Some(name));
        }
        // What cannot be read is left to ONNX Runtime's own words.
        for name in missing(&path).unwrap_or_default() {
            if !machine.missing.contains(&name) {
                machine.missing.push(name);
            }
        }
    }
    machine
}

fn reason(
    provider: &Provider,
    machine: &Surroundings,
    version: &str,
    problem: &str,
) -> Option<(String, String)> {
    let kind = match provider {
        Provider::Cpu => return None,
        Provider::Plugin(_) => "the provider",
        Provider::Cuda(_) => "CUDA",
        Provider::TensorRt(_) => "TensorRT",
    };
    let not_built = problem.contains("is not enabled in this build");
    if let Some(file) = machine.no_file {
        let what = if not_built {
            format!("this ONNX Runtime {version} is built without {kind}")
        } else {
            format!("{file} is not beside the library")
        };
        return Some((
            what,
            format!(
                "Get a build with {kind} (the Python package onnxruntime-gpu; in the project scripts/fetch-onnxruntime.py \
                 --gpu), and name its library with --ort-lib or ORT_DYLIB_PATH"
            ),
        ));
    }
    if let Some(option) = unknown_option(problem) {
        return Some((
            format!("ONNX Runtime {version} does not know the provider option `{option}`"),
            "Check its spelling, leave it out, or use another ONNX Runtime".into(),
        ));
    }
    if !machine.missing.is_empty() {
        return Some((
            format!(
                "these libraries are not found: {}",
                machine.missing.join(", ")
            ),
            install(&machine.missing),
        ));
    }
    FAILURES
        .iter()
        .find(|(said, _, _)| problem.contains(said))
        .map(|(_, why, remedy)| (format!("{why} ({problem})"), (*remedy).to_owned()))
}

/// The option in `Unknown provider option: "x"`.
fn unknown_option(problem: &str) -> Option<&str> {
    let rest = problem.split_once("Unknown provider option: \"")?.1;
    rest.split_once('"').map(|(option, _)| option)
}

fn install(missing: &[String]) -> String {
    let mut software: Vec<String> = Vec::new();
    let mut driver = false;
    for name in missing {
        let known = SOFTWARE.iter().find(|(begin, _)| name.starts_with(begin));
        let one = match known {
            Some(&(_, DRIVER)) => {
                driver = true;
                continue;
            }
            // The number behind `.so.` is the version of the software for all but libcurand.
            Some((_, software)) => match name.rsplit_once(".so.") {
                Some((name, major)) if name != "libcurand" => format!("{software} {major}"),
                _ => (*software).to_owned(),
            },
            None => format!("what {name} belongs to"),
        };
        if !software.iter().any(|known| known.starts_with(&one)) {
            software.retain(|known| !one.starts_with(known.as_str()));
            software.push(one);
        }
    }
    let mut text = String::from("Install ");
    text.push_str(&software.join(", "));
    if driver {
        let and = if software.is_empty() { "" } else { " and " };
        text.push_str(and);
        text.push_str(DRIVER);
    }
    if !software.is_empty() {
        text.push_str("; libraries in a folder of their own have to be on LD_LIBRARY_PATH");
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reason_of(device: &str, machine: &Surroundings, problem: &str) -> Option<(String, String)> {
        reason(&device.parse().unwrap(), machine, "1.31.1", problem)
    }

    fn missing(names: &[&str]) -> Surroundings {
        Surroundings {
            no_file: None,
            missing: names.iter().map(|&name| name.into()).collect(),
        }
    }

    #[test]
    fn a_library_for_the_cpu() {
        let machine = Surroundings {
            no_file: Some("libonnxruntime_providers_cuda.so"),
            ..Surroundings::default()
        };
        let said = "CUDA execution provider is not enabled in this build.";
        let (problem, remedy) = reason_of("cuda:0", &machine, said).unwrap();
        assert_eq!(problem, "this ONNX Runtime 1.31.1 is built without CUDA");
        assert!(
            remedy.contains("scripts/fetch-onnxruntime.py --gpu"),
            "{remedy}"
        );

        let said = "Failed to load library libonnxruntime_providers_cuda.so";
        let (problem, _) = reason_of("cuda:0", &machine, said).unwrap();
        assert_eq!(
            problem,
            "libonnxruntime_providers_cuda.so is not beside the library"
        );
    }

    #[test]
    fn missing_libraries_are_told_with_what_to_install() {
        let cuda = [
            "libcublasLt.so.13",
            "libcublas.so.13",
            "libcurand.so.10",
            "libcudart.so.13",
        ];
        let both = [&cuda[..], &["libcuda.so.1"]].concat();
        let tensorrt = ["libnvinfer.so.10", "libnvonnxparser.so.10", "libcudnn.so.9"];
        for (names, remedy) in [
            (
                &cuda[..],
                "Install the CUDA toolkit 13; libraries in a folder of their own have to be on LD_LIBRARY_PATH"
                    .to_owned(),
            ),
            (&["libcuda.so.1"], format!("Install {DRIVER}")),
            (
                &both,
                format!(
                    "Install the CUDA toolkit 13 and {DRIVER}; libraries in a folder of their own have to be on \
                     LD_LIBRARY_PATH"
                ),
            ),
            (
                &["libcurand.so.10"],
                "Install the CUDA toolkit; libraries in a folder of their own have to be on LD_LIBRARY_PATH".to_owned(),
            ),
            (
                &tensorrt,
                "Install TensorRT 10, cuDNN 9; libraries in a folder of their own have to be on LD_LIBRARY_PATH"
                    .to_owned(),
            ),
        ] {
            let (problem, advised) = reason_of("cuda:0", &missing(names), "").unwrap();
            assert_eq!(
                problem,
                format!("these libraries are not found: {}", names.join(", "))
            );
            assert_eq!(advised, remedy);
        }
    }

    #[test]
    fn failures_of_a_whole_installation() {
        for (said, why) in [
            (
                "CUDA failure 35: CUDA driver version is insufficient",
                "older",
            ),
            (
                "CUDA failure 100: no CUDA-capable device is detected",
                "no GPU",
            ),
            (
                "Invalid device ID: 4, must be between 0 (inclusive) and 2",
                "no such device",
            ),
            (
                "CUDA failure 209: no kernel image is available",
                "compute capability",
            ),
            (
                "CUDA failure 2: out of memory ; GPU=0",
                "too little free memory",
            ),
            (
                "BFCArena::AllocateRawInternal Available memory of 34699008 is smaller than requested bytes of 945041920",
                "gpu_mem_limit",
            ),
            (
                "This session contains graph nodes that are assigned to the default CPU EP, but fallback to CPU EP has",
                "no node may run on the CPU",
            ),
            (
                "not all nodes are TensorRT's: Relu head/relu",
                "would run on CUDA (not all nodes are TensorRT's: Relu head/relu)",
            ),
            (
                "Following input(s) has no associated shape profiles provided: x",
                "does not take the whole graph",
            ),
            (
                "Unknown provider option: \"external_data_loader_reading_threads\".",
                "1.31.1 does not know the provider option `external_data_loader_reading_threads`",
            ),
        ] {
            let (problem, _) = reason_of("tensorrt:0", &Surroundings::default(), said).unwrap();
            assert!(problem.contains(why), "{problem}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_as_it_is() {
        for device in ["cpu", "cuda:0", "plugin:Some:0"] {
            let said = "Load model failed: no such operator";
            assert_eq!(reason_of(device, &Surroundings::default(), said), None);
        }
    }
}
