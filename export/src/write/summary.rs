//! A plan of an export in a few lines, for people.

use std::{collections::BTreeMap, fmt};

use worldpm_ort_bundle::Bytes;

use super::plan::ExportPlan;
use crate::options::ExportOptions;

impl fmt::Display for ExportPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExportOptions {
            device,
            target,
            interface,
            layout,
            weights,
            ..
        } = &self.options;
        writeln!(
            f,
            "{} with {} layers, {} for {device}: target {target}, interface {interface}, layout {layout}",
            self.model.architecture, self.model.num_hidden_layers, self.precision
        )?;
        match self.converted_bytes() {
            0 => writeln!(f, "weights: {weights}")?,
            bytes => writeln!(f, "weights: {} of new files", Bytes(bytes))?,
        }
        for (form, (count, bytes)) in self.forms() {
            writeln!(f, "  {count} tensors {form}: {}", Bytes(bytes))?;
        }
        for stage in self.stages() {
            let (placed, manifest) = (stage.placed(), stage.manifest());
            let (first, end) = manifest.layers;
            write!(
                f,
                "{}: layers {first} to {}, {} of weights, {} in memory",
                manifest.graph,
                end.saturating_sub(1),
                Bytes(manifest.weight_bytes),
                Bytes(placed.memory.total()),
            )?;
            match placed.capacity {
                Some(capacity) => writeln!(f, " of device {} ({capacity})", placed.device)?,
                None => writeln!(f)?,
            }
        }
        self.notes()
            .try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

impl ExportPlan<'_> {
    /// Number and bytes of the weights of each form.
    fn forms(&self) -> BTreeMap<String, (usize, u64)> {
        let mut forms = BTreeMap::new();
        for weight in self.weights() {
            let adapted = match weight.adapted {
                true => ", with the adapter",
                false => "",
            };
            let (count, bytes) = forms
                .entry(format!("{}{adapted}", weight.form))
                .or_insert((0, 0));
            *count += 1;
            *bytes += weight.bytes;
        }
        forms
    }
}
