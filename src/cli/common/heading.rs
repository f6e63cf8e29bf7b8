//! The headings that `--help` groups options by.

pub(crate) const INPUT_OUTPUT: &str = "Input and output";
pub(crate) const OUTPUT_FORMAT: &str = "Output format";
pub(crate) const GRAPHS: &str = "Graphs";
pub(crate) const SERVERS: &str = "Bundles for servers";
pub(crate) const STAGES: &str = "Stages and memory";
pub(crate) const SCORING: &str = "Scoring";
pub(crate) const DEVICES: &str = "Devices";
pub(crate) const MEMORY: &str = "Memory";
pub(crate) const PRECISION: &str = "Precision";
#[cfg(feature = "serve")]
pub(crate) const LISTENING: &str = "Listening";
#[cfg(feature = "serve")]
pub(crate) const LIMITS: &str = "Limits";
#[cfg(feature = "serve")]
pub(crate) const DIALECTS: &str = "Dialects";
#[cfg(feature = "serve")]
pub(crate) const OPERATIONS: &str = "Operations";
pub(crate) const HUB: &str = "Hub";
pub(crate) const PROBES: &str = "Reference scores";
pub(crate) const COMPARISON: &str = "Comparison of two bundles";
pub(crate) const MODEL: &str = "Model";
pub(crate) const ESTIMATE: &str = "Estimate";
pub(crate) const SIMULATION: &str = "Simulation";
pub(crate) const WORKLOAD: &str = "Workload";
pub(crate) const MEASUREMENT: &str = "Measurement";
