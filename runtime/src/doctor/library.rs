//! ONNX Runtime's library, and whether its providers can be loaded.

use std::path::Path;

use super::finding::{Finding, Level};
use crate::{
    bundle::Bundle,
    engine::OnnxRuntime,
    host::dl::needed::{Missing, names, probe},
};

/// Providers in libraries of their own, beside the main one.
const SEPARATE: [(&str, &str); 2] = [
    ("CUDAExecutionProvider", "libonnxruntime_providers_cuda.so"),
    (
        "TensorrtExecutionProvider",
        "libonnxruntime_providers_tensorrt.so",
    ),
];

/// `needed` is whether a GPU should be used here.
pub(super) fn examine(
    explicit: Option<&Path>,
    bundle: Option<&Bundle>,
    needed: bool,
) -> Vec<Finding> {
    let runtime = match OnnxRuntime::load(explicit, None) {
        Ok(runtime) => runtime,
        Err(error) => {
            let advice = "name a library with --ort-lib or ORT_DYLIB_PATH, or install the Python package onnxruntime in the active \
                          environment";
            return vec![Finding::bad(
                Level::Error,
                "ONNX Runtime",
                error.to_string(),
                advice,
            )];
        }
    };
    let path = runtime.path();
    let found = format!("version {}, {}", runtime.version(), path.display());
    let mut findings = vec![match bundle
        .map(|bundle| runtime.require(&bundle.manifest().min_ort_version))
    {
        Some(Err(error)) => {
            let advice = "use a newer library, or export the checkpoint with --target ort";
            Finding::bad(Level::Error, "ONNX Runtime", error.to_string(), advice)
        }
        _ => Finding::ok("ONNX Runtime", found),
    }];
    let providers = match runtime.providers() {
        Ok(providers) => providers,
        Err(error) => {
            let advice = "use the library of an official package";
            findings.push(Finding::bad(
                Level::Error,
                "providers",
                error.to_string(),
                advice,
            ));
            return findings;
        }
    };
    findings.push(Finding::ok(
        "providers",
        format!("built with {}", providers.join(", ")),
    ));
    let folder = path.canonicalize().ok();
    let folder = folder
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."));
    let cuda = providers.iter().any(|name| name == SEPARATE[0].0);
    if needed && !cuda {
        let found = "the library has no CUDA provider, so no GPU is used".to_owned();
        let advice = "get the CUDA build (the Python package onnxruntime-gpu; in the project scripts/fetch-onnxruntime.py --gpu), and \
             name its library with --ort-lib";
        findings.push(Finding::bad(Level::Error, "CUDA provider", found, advice));
    }
    for (name, file) in SEPARATE {
        if providers.iter().any(|provider| provider == name) {
            findings.push(provider(name, &folder.join(file), needed));
        }
    }
    findings
}

/// A provider in a library of its own. TensorRT is never needed: CUDA does the same.
fn provider(name: &str, path: &Path, needed: bool) -> Finding {
    let check = name.trim_end_matches("ExecutionProvider");
    let check = format!("{check} provider");
    let level = match needed && name == SEPARATE[0].0 {
        true => Level::Error,
        false => Level::Warn,
    };
    let libraries = match names(path) {
        Ok(libraries) => libraries,
        Err(problem) => {
            let found = format!("{}: {problem}", path.display());
            let advice = "copy all libonnxruntime_providers_*.so of the package beside the library";
            return Finding::bad(level, &check, found, advice);
        }
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let missing: Vec<(String, Missing)> = libraries
        .into_iter()
        .filter_map(|name| probe(&name, folder).err().map(|missing| (name, missing)))
        .collect();
    if missing.is_empty() {
        return Finding::ok(
            &check,
            format!("{}: every library that it needs is found", path.display()),
        );
    }
    let list: Vec<String> = missing
        .iter()
        .map(|(name, missing)| in_words(name, missing))
        .collect();
    let mut advice: Vec<&str> = missing.iter().map(|(name, _)| where_from(name)).collect();
    advice.sort_unstable();
    advice.dedup();
    let found = format!("it cannot be loaded: {}", list.join("; "));
    Finding::bad(level, &check, found, advice.join("; "))
}

fn in_words(name: &str, missing: &Missing) -> String {
    match &missing.other {
        Some(other) => format!("{name} is missing, and {other} is here: another major version"),
        // The loader says of a library that is nowhere just that; of others, which part of theirs is missing.
        None if missing
            .problem
            .contains(&format!("{name}: cannot open shared object file")) =>
        {
            format!("{name} is missing")
        }
        None => format!("{name}: {}", missing.problem),
    }
}

/// Who has a library.
fn where_from(name: &str) -> &'static str {
    match name.split_once(".so").map(|(stem, _)| stem) {
        Some("libcuda") => {
            "libcuda is part of the NVIDIA driver: install it, or in a container run with --gpus all"
        }
        Some("libcudnn") => "install cuDNN of that major version",
        Some("libnvinfer" | "libnvonnxparser") => {
            "install TensorRT of that major version, if TensorRT is to be used"
        }
        Some("libcudart" | "libcublas" | "libcublasLt" | "libcurand" | "libcufft" | "libnvrtc") => {
            "install the CUDA toolkit's libraries of that major version (packages nvidia-cuda-runtime, nvidia-cublas, \
             nvidia-curand), and add their folder to LD_LIBRARY_PATH"
        }
        _ => "install the missing libraries with the system's packages",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_what_is_missing() {
        let missing = |problem: &str, other: Option<&str>| Missing {
            problem: problem.to_owned(),
            other: other.map(str::to_owned),
        };
        let gone = "libcudart.so.13: cannot open shared object file: No such file or directory";
        assert_eq!(
            in_words("libcudart.so.13", &missing(gone, None)),
            "libcudart.so.13 is missing"
        );
        assert_eq!(
            in_words("libcudart.so.13", &missing(gone, Some("libcudart.so.12"))),
            "libcudart.so.13 is missing, and libcudart.so.12 is here: another major version"
        );
        let deeper = "libcublasLt.so.13: cannot open shared object file: No such file or directory";
        assert_eq!(
            in_words("libcublas.so.13", &missing(deeper, None)),
            format!("libcublas.so.13: {deeper}")
        );
    }

    #[test]
    fn a_provider_that_is_not_there() {
        let found = provider(
            "CUDAExecutionProvider",
            Path::new("nowhere/libonnxruntime_providers_cuda.so"),
            true,
        );
        assert_eq!(
            (found.check.as_str(), found.level),
            ("CUDA provider", Level::Error)
        );
        assert!(found.found.contains("No such file"), "{found:?}");
        let found = provider("TensorrtExecutionProvider", Path::new("nowhere/x.so"), true);
        assert_eq!(found.level, Level::Warn);
    }
}
