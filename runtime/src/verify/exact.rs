//! Which bundles compute exactly.

use worldpm_ort_bundle::{Device, Interface, Manifest, Precision, manifest::WeightsPlace};

/// Whether a bundle computes in fp32 on the CPU over the checkpoint's own weights, from packed tokens.
#[must_use]
pub fn is_reference(manifest: &Manifest) -> bool {
    let exact =
        manifest.weights.mode != WeightsPlace::Converted || manifest.precision == Precision::Fp32;
    manifest.device == Device::Cpu && manifest.interface == Interface::Packed && exact
}
