//! `worldpm-ort serve`.

mod args;
mod logs;
mod ops_args;
mod security;
mod texts;

use anyhow::{Context, Result};
use worldpm_ort_serve::Server;

use super::common::{interrupt::Interrupt, model, outcome::Status};

pub(crate) use args::ServeArgs;
use ops_args::LogFormat;

pub(crate) fn run(args: &ServeArgs) -> Result<Status> {
    logs::start(&args.ops);
    let mut models = Vec::new();
    for named in &args.model {
        model::check(&named.directory)?;
        models.push(args.model_options(named));
    }
    for alias in &args.alias {
        let named = models.iter_mut().find(|model| model.name == alias.model);
        let named = named.with_context(|| {
            format!(
                "--alias {}={}: there is no model of that name",
                alias.name, alias.model
            )
        })?;
        named.aliases.push(alias.name.clone());
    }
    args.security.allow_connections();
    // A second signal does not wait for the requests that the first one lets finish.
    let text = matches!(args.ops.log_format, LogFormat::Text);
    let ending = move || match text {
        true => alert!("ending: requests under way are finished"),
        false => tracing::info!("ending: requests under way are finished"),
    };
    let _interrupt = Interrupt::watch(ending).context("cannot watch for signals")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the threads of the server")?;
    runtime.block_on(async {
        let server = Server::start(args.serve_options(), models).await?;
        for address in server.addresses() {
            match args.ops.log_format {
                LogFormat::Text => alert!("listening on {address}"),
                LogFormat::Json => tracing::info!(address, "listening"),
            }
        }
        server.run_until_signal().await?;
        Ok(Status::Done)
    })
}
