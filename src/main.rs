//! The `worldpm-ort` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    worldpm_ort::cli::main()
}
