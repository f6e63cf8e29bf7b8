//! Measures a bundle on this machine: how much it scores in a second, how long a conversation takes, what each stage
//! does meanwhile, and how much of the machine's arithmetic that is.
//!
//! ```no_run
//! # use worldpm_ort_runtime as worldpm_ort;
//! use worldpm_ort::{ScorerOptions, bench::{Bench, BenchOptions, WorkloadSpec}};
//!
//! let bench = Bench::open("bundle".as_ref(), ScorerOptions::default())?;
//! let workload = bench.workload(&WorkloadSpec::default())?;
//! let report = bench.run(&workload, &BenchOptions::default())?;
//! println!("{:.0} tokens a second", report.throughput.unique_tokens_per_second);
//! # Ok::<(), worldpm_ort::bench::BenchError>(())
//! ```

mod arithmetic;
mod error;
mod latency;
mod measure;
mod memory;
mod options;
mod profile;
mod record;
mod report;
mod rounds;
pub mod statistics;
mod timeline;
mod words;
mod work;
mod workload;

pub use crate::host::memory::ProcessMemory;
pub use error::BenchError;
pub use measure::Bench;
pub use options::BenchOptions;
pub use report::{
    DeviceMemoryReport, LatencyReport, LoadReport, MatrixReport, MemoryReport, ModelReport,
    OperatorReport, Report, RoundReport, SetupReport, StageLoadReport, StageReport, StepsReport,
    ThroughputReport, UtilisationReport, WorkloadReport,
};
pub use workload::{Workload, WorkloadKind, WorkloadSpec};
