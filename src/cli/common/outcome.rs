//! How a command ended, and what is said of it.

use std::io;

/// How a command ended, when it did not fail outright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Everything was done.
    Done,
    /// Some records could not be scored; they are in the output as errors.
    SomeFailed,
    /// A signal ended the work early; what is in the output is right.
    Interrupted,
    /// A check was made and did not pass; the output says of what.
    CheckFailed,
}

/// An error with its causes. Some errors have the text of their cause in their own; it is not said twice.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut said, cause| {
        let cause = cause.to_string();
        if said.is_empty() {
            return cause;
        }
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
        said
    })
}

/// Whether writing results failed so; a connection that broke is within an error of its own.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let written = error.downcast_ref().map(io::Error::kind);
    let as_json = || {
        error
            .downcast_ref()
            .and_then(serde_json::Error::io_error_kind)
    };
    written.or_else(as_json) == Some(io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let missing = || io::Error::from_raw_os_error(2);
        let text = "No such file or directory (os error 2)";
        let plain = Err::<(), _>(missing())
            .context("cannot open x")
            .map_err(|e| describe(&e));
        assert_eq!(plain, Err(format!("cannot open x: {text}")));
        let said = Err::<(), _>(missing())
            .with_context(|| format!("cannot open x: {text}"))
            .context("chosen")
            .map_err(|e| describe(&e));
        assert_eq!(said, Err(format!("chosen: cannot open x: {text}")));
    }

    #[test]
    fn only_results_break_pipes_quietly() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let writing = Err::<(), _>(broken()).context("cannot write");
        assert!(writing.is_err_and(|error| is_broken_pipe(&error)));
        let record = crate::records::RecordErrorKind::Io(broken());
        assert!(!is_broken_pipe(&record.into()));
    }
}
