//! Formats of data sets that are read and written.

use std::{
    io::{self, IsTerminal},
    path::Path,
};

use anyhow::{Context, Result};
use worldpm_ort_data::{Compression, Format};

use super::heading;

/// Formats, where names and contents do not show the right ones.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct FormatArgs {
    /// Format of the input: jsonl, json, csv, tsv, parquet, arrow or arrow-stream [default: as the file begins, and its name]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) input_format: Option<Format>,
    /// Format of the output, of the same ones [default: as its name says, which may also end in .gz or .zst, or the input's]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) output_format: Option<Format>,
}

impl FormatArgs {
    /// The format and compression of an output, as far as the options and its name show them.
    pub(crate) fn shown(&self, output: &Path) -> (Option<Format>, Compression) {
        let (named, compression) = match output == Path::new("-") {
            true => (None, Compression::None),
            false => Format::of_name(output),
        };
        (self.output_format.or(named), compression)
    }

    /// Those of the output of an input of this format; JSON becomes lines of it, where nothing else is said.
    pub(crate) fn output(&self, output: &Path, input: Format) -> Result<(Format, Compression)> {
        let (shown, compression) = self.shown(output);
        let format = shown.unwrap_or(match input {
            Format::Json => Format::JsonLines,
            of_input => of_input,
        });
        check_terminal(output, format, compression)?;
        Ok((format, compression))
    }
}

/// Refuses to print what is no text.
fn check_terminal(output: &Path, format: Format, compression: Compression) -> Result<()> {
    let is_binary = format.is_table() || compression != Compression::None;
    if is_binary && output == Path::new("-") && io::stdout().is_terminal() {
        return Err(anyhow::anyhow!(
            "name a file with --output, or another format with --output-format"
        ))
        .with_context(|| format!("{format} is not for a terminal"));
    }
    Ok(())
}
