//! How large the tensors of a request get, and the memory that a server keeps for them.

use worldpm_ort_bundle::manifest::{Stage, TensorInfo};

use super::options::LayoutOptions;

/// Requests that a stage may have at once: one that is computed and one that waits. Without a bound, what a fast stage
/// hands to a slow one would pile up in memory.
pub(super) const IN_FLIGHT: u64 = 2;

const MIB: u64 = 1 << 20;
/// The pools that Triton makes by default.
const DEFAULT_DEVICE_POOL: u64 = 64 * MIB;
const DEFAULT_PINNED_POOL: u64 = 256 * MIB;

/// The largest request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: u64,
    /// Tokens of a row; even, as rows are padded.
    pub(super) columns: u64,
}

impl Limits {
    pub(super) fn new(options: &LayoutOptions, max_length: usize) -> Self {
        let longest = options.row_tokens.min(max_length as u64);
        Self {
            rows: options.rows,
            columns: longest.next_multiple_of(2),
        }
    }

    pub(super) fn tokens(&self) -> u64 {
        self.rows * self.columns
    }

    /// The sizes of a tensor's dimensions in the largest request.
    pub(super) fn shape(&self, tensor: &TensorInfo) -> Vec<u64> {
        sizes(tensor, self.tokens(), self.rows, self.columns)
    }

    fn bytes(&self, tensor: &TensorInfo) -> u64 {
        let element = match tensor.element.as_str() {
            "int64" => 8,
            "float16" | "bfloat16" => 2,
            _ => 4,
        };
        self.shape(tensor).iter().product::<u64>() * element
    }

    /// Bytes of what a stage is given and what it gives.
    fn traffic(&self, stage: &Stage) -> u64 {
        let tensors = stage.inputs.iter().chain(&stage.outputs);
        tensors.map(|tensor| self.bytes(tensor)).sum()
    }

    /// The pool of device memory for a stage: the tensors of its requests.
    pub(super) fn device_pool(&self, stage: &Stage) -> u64 {
        (IN_FLIGHT * self.traffic(stage))
            .next_multiple_of(MIB)
            .max(DEFAULT_DEVICE_POOL)
    }

    /// The pool of pinned host memory, through which tensors go from device to device where there is no direct way:
    /// those of all stages.
    pub(super) fn pinned_pool(&self, stages: &[Stage]) -> u64 {
        let total: u64 = stages
            .iter()
            .map(|stage| IN_FLIGHT * self.traffic(stage))
            .sum();
        total.next_multiple_of(MIB).max(DEFAULT_PINNED_POOL)
    }
}

/// The sizes of a tensor's dimensions in the smallest request that there can be.
pub(super) fn smallest_shape(tensor: &TensorInfo) -> Vec<u64> {
    sizes(tensor, 1, 1, 2)
}

fn sizes(tensor: &TensorInfo, tokens: u64, rows: u64, columns: u64) -> Vec<u64> {
    let size = |dim: &String| match dim.as_str() {
        "T" => tokens,
        "B" | "N" | "batch" => rows,
        "S" | "sequence" => columns,
        fixed => fixed.parse().unwrap_or(1),
    };
    tensor.shape.iter().map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(element: &str, shape: &[&str]) -> TensorInfo {
        TensorInfo {
            name: "x".into(),
            element: element.into(),
            shape: shape.iter().map(|&dim| dim.into()).collect(),
        }
    }

    #[test]
    fn pools_hold_two_requests() {
        let stage = Stage {
            graph: String::new(),
            bytes: 0,
            sha256: String::new(),
            layers: (0, 1),
            weight_bytes: 0,
            inputs: vec![tensor("int64", &["batch", "sequence"])],
            outputs: vec![tensor("bfloat16", &["T", "8192"])],
        };
        let options = LayoutOptions::default();
        let limits = Limits::new(&options, 131_072);
        let expected = 2 * (8 * 4096 * 8 + 8 * 4096 * 8192 * 2);
        assert_eq!(limits.device_pool(&stage), expected + MIB / 2);
        assert_eq!(
            limits.pinned_pool(std::slice::from_ref(&stage)),
            expected + MIB / 2
        );
        // A short model bounds the rows, and small pools are Triton's own.
        let limits = Limits::new(&options, 15);
        assert_eq!(limits.columns, 16);
        assert_eq!(limits.device_pool(&stage), DEFAULT_DEVICE_POOL);
        assert_eq!(limits.pinned_pool(&[stage]), DEFAULT_PINNED_POOL);
    }
}
