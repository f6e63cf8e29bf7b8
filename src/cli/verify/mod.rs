//! `worldpm-ort verify`.

mod args;
mod drift;
mod drift_report;
mod probes;
mod published;
mod record;

use anyhow::Result;

use super::common::{model, outcome::Status};
pub(crate) use args::VerifyArgs;

pub(crate) fn run(args: &VerifyArgs) -> Result<Status> {
    let against = args.against.as_deref();
    for bundle in [Some(args.model.as_path()), against].into_iter().flatten() {
        model::check(bundle)?;
    }
    match (&args.against, &args.data) {
        (Some(against), Some(data)) => drift::run(args, against, data),
        _ if args.record => record::run(args),
        _ => probes::run(args),
    }
}
