//! What the devices can do: the rate of bare matrix products.

use std::time::Duration;

use worldpm_ort_bundle::{Device, Manifest, Precision, proto::ElementType};

use super::{
    MatrixReport, UtilisationReport,
    statistics::{Summary, median, rate},
};
use crate::{
    Result,
    engine::{MatrixProbe, MatrixSizes, OnnxRuntime},
    ep::Provider,
};

/// Elements of a matrix at most, activations included: 256 MiB of floats. The products of larger ones are no faster.
const MOST_ELEMENTS: usize = 64 << 20;
/// How long products are run for a measurement.
const TIME: Duration = Duration::from_millis(500);

/// Products of matrices on each of the model's devices.
pub(super) struct Matrices {
    probes: Vec<MatrixProbe>,
    sizes: MatrixSizes,
    measured: Vec<f64>,
}

impl Matrices {
    /// Loads them, at the widths of the model's MLP. `providers` are those of each stage, for each copy of the model.
    pub(super) fn open(
        runtime: &OnnxRuntime,
        providers: &[Vec<Provider>],
        manifest: &Manifest,
        rows: usize,
    ) -> Result<Self> {
        let model = &manifest.model;
        let widths = [model.hidden_size, model.intermediate_size];
        let sizes = sizes(rows, widths, element(manifest));
        // Each part of the CPU's cores that works as a device is a part of what is measured at once.
        let mut devices: Vec<&Provider> = Vec::new();
        for provider in providers.iter().flatten() {
            if !devices.contains(&provider) {
                devices.push(provider);
            }
        }
        let open = |provider: &&Provider| MatrixProbe::open(runtime, provider, sizes);
        Ok(Self {
            probes: devices.iter().map(open).collect::<Result<_, _>>()?,
            sizes,
            measured: Vec::new(),
        })
    }

    /// Measures the devices one after the other and keeps the sum.
    pub(super) fn measure(&mut self) -> Result<()> {
        let mut sum = 0.0;
        for probe in &mut self.probes {
            sum += median(&probe.rates(TIME)?).unwrap_or(0.0);
        }
        self.measured.push(sum);
        Ok(())
    }

    pub(super) fn report(&self) -> MatrixReport {
        let summary = Summary::of(&self.measured);
        MatrixReport {
            flops_per_second: median(&self.measured).unwrap_or(0.0),
            range: summary.map_or([0.0; 2], |summary| [summary.lowest, summary.highest]),
            measurements: self.measured.len(),
            sizes: [self.sizes.rows, self.sizes.narrow, self.sizes.wide],
            element: format!("{:?}", self.sizes.element).to_lowercase(),
        }
    }
}

/// Products with so many rows between widths like these, cut where a matrix would have too many elements.
fn sizes(rows: usize, [narrow, wide]: [usize; 2], element: ElementType) -> MatrixSizes {
    let most = |other: usize| (MOST_ELEMENTS / other.max(1)).max(1);
    let wide = wide.min(most(narrow));
    MatrixSizes {
        rows: rows.min(most(wide.max(narrow))),
        narrow,
        wide,
        element,
    }
}

/// What the model's linear layers multiply, or would if they were not quantised.
fn element(manifest: &Manifest) -> ElementType {
    match (manifest.device, manifest.precision) {
        (Device::Cpu, _) | (Device::Cuda, Precision::Fp32) => ElementType::Float,
        (Device::Cuda, Precision::Fp16) => ElementType::Float16,
        (Device::Cuda, _) => ElementType::BFloat16,
    }
}

pub(super) fn utilisation(flops: u64, seconds: f64, matrix: MatrixReport) -> UtilisationReport {
    let flops_per_second = rate(flops as f64, seconds).unwrap_or(0.0);
    UtilisationReport {
        flops,
        flops_per_second,
        share: rate(flops_per_second, matrix.flops_per_second).unwrap_or(0.0),
        matrix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_are_bounded() {
        let sizes = |rows, widths| {
            let sizes = sizes(rows, widths, ElementType::Float);
            [sizes.rows, sizes.narrow, sizes.wide]
        };
        assert_eq!(sizes(2048, [896, 4864]), [2048, 896, 4864]);
        assert_eq!(sizes(2048, [8192, 29_568]), [2048, 8192, 8192]);
        for (rows, widths) in [
            (usize::MAX, [256, 704]),
            (usize::MAX, [704, 256]),
            (1 << 20, [8192, 29_568]),
            (usize::MAX, [1, usize::MAX]),
        ] {
            let [rows, narrow, wide] = sizes(rows, widths);
            assert!(rows >= 1, "{widths:?}");
            for (a, b) in [(rows, narrow), (rows, wide), (narrow, wide)] {
                assert!(a * b <= MOST_ELEMENTS, "{a} {b} for {widths:?}");
            }
        }
    }

    #[test]
    fn utilisation_is_of_all_the_time() {
        let matrix = MatrixReport {
            flops_per_second: 500.0,
            range: [500.0; 2],
            measurements: 1,
            sizes: [1; 3],
            element: "float".into(),
        };
        let found = utilisation(1000, 4.0, matrix);
        assert_eq!((found.flops, found.flops_per_second), (1000, 250.0));
        assert_eq!(found.share, 0.5);
    }
}
