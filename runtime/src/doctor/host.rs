//! Memory, processors and limits, as the kernel reports them.

use std::fs;

use worldpm_ort_bundle::Bytes;
use worldpm_ort_kernels::Kernels;

use super::finding::{Finding, Level};
use crate::host::memory;

/// Fewer files than this may be too few: a bundle's weights are tens of files, mapped at the same time.
const FEW_FILES: u64 = 256;

pub(super) fn examine() -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut findings = vec![
        memory_of(memory::available(), total(&read("/proc/meminfo"))),
        processors(memory::cores().len(), &read("/proc/cpuinfo")),
        kernels(Kernels::detect().as_ref()),
    ];
    findings.extend(limits(&read("/proc/self/limits")));
    findings.extend(overcommit(read("/proc/sys/vm/overcommit_memory").trim()));
    findings
}

/// What multiplies for models on the CPU.
fn kernels(kernels: Option<&Kernels>) -> Finding {
    let found = match kernels {
        Some(kernels) => format!(
            "models on the CPU run with our own kernels, on {}",
            kernels.unit()
        ),
        None => "models on the CPU run with ONNX Runtime's: there is no unit for bfloat16 numbers that this process may use"
            .to_owned(),
    };
    Finding::ok("kernels", found)
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn memory_of(available: Option<u64>, total: Option<u64>) -> Finding {
    match (available, total) {
        (Some(available), Some(total)) => Finding::ok(
            "memory",
            format!(
                "{} can be taken of {}, limits of control groups counted; `worldpm-ort plan` shows what a model needs",
                Bytes(available),
                Bytes(total)
            ),
        ),
        _ => Finding::bad(
            Level::Warn,
            "memory",
            "the system does not say how much there is",
            "give --memory or enough of it: nothing is checked",
        ),
    }
}

/// Instructions that make a difference on the CPU, and what they do.
const FEATURES: [(&str, &str); 6] = [
    ("avx2", "AVX2"),
    ("avx512f", "AVX-512"),
    ("avx512_vnni", "VNNI (8-bit products)"),
    ("avx512_bf16", "AVX-512 bf16"),
    ("amx_int8", "AMX int8"),
    ("amx_bf16", "AMX bf16"),
];

fn processors(cores: usize, cpuinfo: &str) -> Finding {
    let field = |name: &str| {
        let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim())
    };
    let model = field("model name").unwrap_or("a processor that does not say its name");
    let Some(flags) = field("flags") else {
        // Other processors than x86 name other features.
        return Finding::ok(
            "processor",
            format!("{model}, {cores} cores for this process"),
        );
    };
    let has = |flag: &str| flags.split_whitespace().any(|known| known == flag);
    let (here, lacking): (Vec<_>, Vec<_>) = FEATURES.iter().partition(|(flag, _)| has(flag));
    let list = |features: &[&(&str, &str)]| match features {
        [] => "none".to_owned(),
        _ => features
            .iter()
            .map(|(_, name)| *name)
            .collect::<Vec<_>>()
            .join(", "),
    };
    let found = format!(
        "{model}, {cores} cores for this process; has {}",
        list(&here)
    );
    if !has("avx2") {
        let advice =
            "matrix products are many times slower without AVX2: use another machine for CPU work";
        return Finding::bad(Level::Warn, "processor", found, advice);
    }
    match lacking.is_empty() {
        true => Finding::ok("processor", found),
        false => Finding::ok("processor", format!("{found}; lacks {}", list(&lacking))),
    }
}

/// The soft limits that matter: `None` for no limit.
fn limit(limits: &str, name: &str) -> Option<Option<u64>> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

fn limits(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    match limit(text, "Max open files") {
        Some(Some(files)) if files < FEW_FILES => findings.push(Finding::bad(
            Level::Warn,
            "open files",
            format!("at most {files}"),
            format!("a bundle's weights are tens of files, open at the same time: ulimit -n {FEW_FILES} or more"),
        )),
        Some(files) => {
            let files = files.map_or("no limit".to_owned(), |files| format!("at most {files}"));
            findings.push(Finding::ok("open files", files));
        }
        None => {}
    }
    match limit(text, "Max address space") {
        Some(Some(bytes)) => findings.push(Finding::bad(
            Level::Warn,
            "address space",
            format!("at most {}", Bytes(bytes)),
            "weights are mapped whole and CUDA reserves more than it uses: ulimit -v unlimited",
        )),
        Some(None) => findings.push(Finding::ok("address space", "no limit")),
        None => {}
    }
    if let Some(locked) = limit(text, "Max locked memory") {
        let locked = locked.map_or("no limit".to_owned(), |bytes| {
            format!("at most {}", Bytes(bytes))
        });
        findings.push(Finding::ok(
            "locked memory",
            format!("{locked}; the CPU provider locks none"),
        ));
    }
    findings
}

fn overcommit(mode: &str) -> Option<Finding> {
    match mode {
        "2" => Some(Finding::bad(
            Level::Warn,
            "overcommit",
            "the kernel refuses memory that it does not have for sure (vm.overcommit_memory=2)",
            "large models may be refused though they would fit: sysctl vm.overcommit_memory=0, or more swap",
        )),
        "0" | "1" => Some(Finding::ok(
            "overcommit",
            format!("vm.overcommit_memory={mode}"),
        )),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max locked memory         8388608              8388608              bytes\n\
                    Max open files            128                  20000                files\n\
                    Max address space         unlimited            unlimited            bytes\n";
        let found = limits(text);
        let short: Vec<_> = found.iter().map(|f| (f.check.as_str(), f.level)).collect();
        assert_eq!(
            short,
            [
                ("open files", Level::Warn),
                ("address space", Level::Ok),
                ("locked memory", Level::Ok)
            ]
        );
        assert!(
            found[0]
                .advice
                .as_deref()
                .unwrap()
                .contains("ulimit -n 256"),
            "{found:?}"
        );
        let found = limits("Max address space 1073741824 1073741824 bytes\n");
        assert_eq!((found.len(), found[0].level), (1, Level::Warn));
        assert_eq!(found[0].found, "at most 1.00 GiB");
        assert!(limits("").is_empty());
    }

    #[test]
    fn processors_and_their_features() {
        let text = "processor : 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx2 avx512f amx_bf16\n";
        let found = processors(2, text);
        assert_eq!(
            found.found,
            "Some Xeon, 2 cores for this process; has AVX2, AVX-512, AMX bf16; lacks VNNI (8-bit products), AVX-512 \
             bf16, AMX int8"
        );
        assert_eq!(found.level, Level::Ok);
        assert_eq!(
            processors(2, "model name: Old\nflags: sse2\n").level,
            Level::Warn
        );
        assert_eq!(processors(4, "Features : fp asimd\n").level, Level::Ok);
    }

    #[test]
    fn memory_and_overcommit() {
        assert_eq!(total("MemTotal: 5 kB\n"), Some(5 * 1024));
        assert_eq!(memory_of(None, Some(1)).level, Level::Warn);
        assert!(
            memory_of(Some(1 << 30), Some(2 << 30))
                .found
                .starts_with("1.00 GiB can be taken of 2.00 GiB")
        );
        assert_eq!(overcommit("2").unwrap().level, Level::Warn);
        assert_eq!(overcommit("1").unwrap().level, Level::Ok);
        assert_eq!(overcommit(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine() {
        let checks: Vec<String> = examine().into_iter().map(|finding| finding.check).collect();
        for check in ["memory", "processor", "open files"] {
            assert!(checks.iter().any(|found| found == check), "{checks:?}");
        }
    }
}
