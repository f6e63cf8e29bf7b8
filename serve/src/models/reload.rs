//! A bundle takes the place of another while requests are answered.

use std::{
    io,
    sync::{Arc, MutexGuard, TryLockError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use worldpm_ort_runtime::Scorer;

use super::{
    load::open,
    served::{Model, State},
};
use crate::error::ServeError;

/// How long a reload waits for one before it, and for the requests that still hold what that one replaced.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether these have ended.
const PAUSE: Duration = Duration::from_millis(5);

/// How a model is reloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReloadWay {
    /// The new one is opened and checked beside the old one, which serves until then, and after that when the new one is bad.
    /// It takes the memory of both.
    #[default]
    Beside,
    /// The old one finishes what it has and is let go before the new one is opened: requests are refused meanwhile.
    Swap,
}

/// Opens the bundle of a model again, on a thread of its own, and exchanges it. Requests that hold the old one finish with it;
/// after the last of them it is let go, on that thread too. This returns after the exchange. It waits for a reload that is
/// under way; when this future is dropped, the exchange goes on.
///
/// # Errors
/// Why the new one is not served. [`ServeError::Busy`] when the one before it does not come to its end.
pub(crate) async fn reload(model: &Arc<Model>, way: ReloadWay) -> Result<Duration, ServeError> {
    let (exchanged, result) = oneshot::channel();
    let of_thread = Arc::clone(model);
    let spawned = thread::Builder::new().name("reload".into()).spawn(move || {
        exchange(&of_thread, way, |outcome| {
            log(&of_thread, &outcome);
            // Nobody may wait for it any more.
            let _ = exchanged.send(outcome);
        });
    });
    spawned.map_err(|source| ServeError::System {
        what: "start a thread",
        source: Arc::new(source),
    })?;
    result.await.unwrap_or_else(|_| {
        Err(ServeError::System {
            what: "reload a model",
            source: Arc::new(io::Error::other("its thread panicked; the log says more")),
        })
    })
}

fn log(model: &Model, outcome: &Result<Duration, ServeError>) {
    let name = model.name();
    match outcome {
        Ok(time) => {
            let seconds = time.as_secs_f64();
            tracing::info!(model = name, seconds, "model was reloaded");
        }
        Err(error) if model.is_ready() => {
            tracing::error!(
                model = name,
                "model was not reloaded, and the one before stays in service: {error}"
            );
        }
        Err(error) => tracing::error!(model = name, "model was not reloaded: {error}"),
    }
}

/// Says what came of it, and then lets the old one go.
fn exchange(model: &Model, way: ReloadWay, exchanged: impl FnOnce(Result<Duration, ServeError>)) {
    let (_alone, old) = match wait_for_turn(model) {
        Ok(turn) => turn,
        Err(error) => return exchanged(Err(error)),
    };
    let begun = Instant::now();
    match way {
        ReloadWay::Beside => match open(model) {
            Ok(scorer) => {
                model.set(State::Ready(Arc::new(scorer)));
                exchanged(Ok(begun.elapsed()));
                old.into_iter().for_each(retire);
            }
            Err(error) => exchanged(Err(error)),
        },
        ReloadWay::Swap => {
            model.set(State::Loading);
            old.into_iter().for_each(retire);
            let (state, outcome) = match open(model) {
                Ok(scorer) => (State::Ready(Arc::new(scorer)), Ok(begun.elapsed())),
                Err(error) => (State::Failed(error.clone()), Err(error)),
            };
            model.set(state);
            exchanged(outcome);
        }
    }
}

/// What is served at the moment, with the right to exchange it.
fn wait_for_turn(model: &Model) -> Result<(MutexGuard<'_, ()>, Option<Arc<Scorer>>), ServeError> {
    let asked = Instant::now();
    loop {
        let alone = match model.reloading.try_lock() {
            Ok(alone) => Some(alone),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        match (alone, model.state()) {
            (Some(alone), State::Ready(old)) => return Ok((alone, Some(old))),
            (Some(alone), State::Failed(_)) => return Ok((alone, None)),
            _ => {}
        }
        if asked.elapsed() > PATIENCE {
            return Err(ServeError::Busy {
                name: model.name().to_owned(),
            });
        }
        thread::sleep(PAUSE);
    }
}

/// Lets a scorer go after its last request. Its threads are joined then, which no request should wait for: so it is here that
/// the last hold on it ends.
fn retire(mut scorer: Arc<Scorer>) {
    loop {
        match Arc::try_unwrap(scorer) {
            Ok(last) => return drop(last),
            Err(held) => scorer = held,
        }
        thread::sleep(PAUSE);
    }
}
