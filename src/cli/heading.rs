//! The headings that `--help` groups options by.

pub(super) const INPUT_OUTPUT: &str = "Input and output";
pub(super) const OUTPUT_FORMAT: &str = "Output format";
pub(super) const GRAPHS: &str = "Graphs";
pub(super) const SERVERS: &str = "Bundles for servers";
pub(super) const STAGES: &str = "Stages and memory";
pub(super) const SCORING: &str = "Scoring";
pub(super) const DEVICES: &str = "Devices";
pub(super) const MEMORY: &str = "Memory";
pub(super) const PRECISION: &str = "Precision";
pub(super) const HUB: &str = "Hub";
pub(super) const PROBES: &str = "Reference scores";
pub(super) const COMPARISON: &str = "Comparison of two bundles";
pub(super) const MODEL: &str = "Model";
pub(super) const ESTIMATE: &str = "Estimate";
pub(super) const SIMULATION: &str = "Simulation";
pub(super) const WORKLOAD: &str = "Workload";
pub(super) const MEASUREMENT: &str = "Measurement";
