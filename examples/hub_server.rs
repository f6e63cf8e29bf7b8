//! Serves models on loopback as the Hugging Face hub does, to try downloads without a connection; the tests use it too.
//!
//!     cargo run --example hub_server -- FOLDER
//!
//! The files of FOLDER/OWNER/NAME are the repository OWNER/NAME. The server's address, for HF_ENDPOINT, is printed.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/support/hub_server.rs"]
mod hub_server;

use std::{env, fs, path::Path};

use hub_server::{HubServer, Repository};

fn main() {
    let folder = env::args().nth(1).expect("name the folder to serve");
    let folders = |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let repositories = folders(folder.as_ref()).flat_map(|owner| {
        folders(&owner.path()).map(move |name| {
            let id = [owner.file_name(), name.file_name()].map(|part| part.into_string().unwrap());
            Repository::of(&id.join("/"), &name.path())
        })
    });
    let server = HubServer::start(repositories.collect());
    println!("{}", server.endpoint());
    server.wait();
}
