//! Values of options, as text.

use super::ProviderError;

/// Reads a value that ONNX Runtime takes as a switch.
pub(super) fn switch(key: &str, value: &str) -> Result<bool, ProviderError> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(ProviderError::option(key, "give 1 or 0")),
    }
}

/// Reads a whole number within bounds.
pub(super) fn number(key: &str, value: &str, least: u64, most: u64) -> Result<u64, ProviderError> {
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ if most == u64::MAX => Err(ProviderError::option(
            key,
            format!("give a whole number, {least} or more"),
        )),
        _ => Err(ProviderError::option(
            key,
            format!("give a whole number from {least} to {most}"),
        )),
    }
}
