//! Loading, on a thread for each model, and what has to be right before one is served.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Instant,
};

use worldpm_ort_runtime::{
    Scorer,
    verify::{self, Reference, VerifyError},
};

use super::served::{Model, State};
use crate::error::ServeError;

/// Opens a model and compares its probes, on a thread of its own; the model is ready, or failed, after that.
///
/// # Errors
/// [`ServeError::System`] when the system gives no thread.
pub(crate) fn load(model: &Arc<Model>) -> Result<thread::JoinHandle<()>, ServeError> {
    let model = Arc::clone(model);
    let load = move || {
        let begun = Instant::now();
        let state = match open(&model) {
            Ok(scorer) => {
                let seconds = begun.elapsed().as_secs_f64();
                tracing::info!(model = model.name(), seconds, "model is ready");
                State::Ready(Arc::new(scorer))
            }
            Err(error) => {
                tracing::error!(model = model.name(), %error, "model cannot be served");
                State::Failed(error)
            }
        };
        model.set(state);
    };
    let spawned = thread::Builder::new().name("load".into()).spawn(load);
    spawned.map_err(|source| ServeError::System {
        what: "start a thread",
        source: Arc::new(source),
    })
}

/// A scorer that gives the scores it should. A panic on the way is an error like any other.
pub(super) fn open(model: &Model) -> Result<Scorer, ServeError> {
    let opened = catch_unwind(AssertUnwindSafe(|| open_and_check(model)));
    opened.unwrap_or_else(|_| {
        Err(ServeError::Probes {
            name: model.name().to_owned(),
            problem: "opening it panicked, which is an error of this program".into(),
        })
    })
}

fn open_and_check(model: &Model) -> Result<Scorer, ServeError> {
    let options = &model.options;
    let scorer = (options.open)().map_err(|source| ServeError::Model {
        name: options.name.clone(),
        source,
    })?;
    if options.checks_probes {
        check(&scorer, model).map_err(|problem| ServeError::Probes {
            name: options.name.clone(),
            problem,
        })?;
    }
    Ok(scorer)
}

fn check(scorer: &Scorer, model: &Model) -> Result<(), String> {
    let reference = match Reference::read(&model.options.directory, scorer.manifest()) {
        Ok(reference) => reference,
        Err(error @ (VerifyError::NoProbes { .. } | VerifyError::NoReference { .. })) => {
            tracing::warn!(model = model.name(), %error, "scores of the model were not checked");
            return Ok(());
        }
        Err(error) => return Err(error.to_string()),
    };
    let report = verify::run_on_ids(scorer, &reference, None);
    match report.failures() {
        0 => Ok(()),
        failures => {
            let total = report.results.len();
            Err(format!(
                "{failures} of its {total} probes do not have their scores here; `worldpm-ort verify --model {}` shows them",
                model.options.directory.display()
            ))
        }
    }
}
