//! `worldpm-ort serve`.

mod args;
mod texts;

use anyhow::{Context, Result};
use worldpm_ort_serve::Server;

use super::common::{model, outcome::Status};

pub(crate) use args::ServeArgs;

pub(crate) fn run(args: &ServeArgs) -> Result<Status> {
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the threads of the server")?;
    runtime.block_on(async {
        let server = Server::start(args.serve_options(), models).await?;
        for address in server.addresses() {
            report!("listening on {address}");
        }
        server.run_until_signal().await?;
        Ok(Status::Done)
    })
}
