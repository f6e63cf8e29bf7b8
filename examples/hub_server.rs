//! Serves models and data sets on loopback as the Hugging Face hub does, to try downloads without a connection; the tests use it too.
//!
//!     cargo run --example hub_server -- FOLDER
//!
//! The files of FOLDER/OWNER/NAME are the repository OWNER/NAME, those of FOLDER/datasets/OWNER/NAME a data set's, and those of
//! FOLDER/converted/OWNER/NAME its conversion to Parquet. The server's address, for HF_ENDPOINT, is printed.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/support/hub_server/mod.rs"]
mod hub_server;

use std::{env, fs, path::Path};

use hub_server::{HubServer, Repository};

fn main() {
    let folder = env::args().nth(1).expect("name the folder to serve");
    let folder = Path::new(&folder);
    let mut repositories = below(folder, Repository::of);
    repositories.extend(below(&folder.join("datasets"), Repository::data_set));
    let converted = below(&folder.join("converted"), Repository::data_set);
    let revision = |repository: Repository| repository.at("refs/convert/parquet");
    repositories.extend(converted.into_iter().map(revision));
    let server = HubServer::start(repositories);
    println!("{}", server.endpoint());
    server.wait();
}

/// The repositories whose files are in OWNER/NAME below a folder.
fn below(folder: &Path, repository: fn(&str, &Path) -> Repository) -> Vec<Repository> {
    let inside = |path: &Path| -> Vec<_> {
        let entries = fs::read_dir(path).into_iter().flatten();
        entries.map(|entry| entry.unwrap()).collect()
    };
    let of_data = ["datasets", "converted"];
    let owners = inside(folder)
        .into_iter()
        .filter(|owner| !of_data.iter().any(|name| owner.file_name() == *name));
    let named = |owner: fs::DirEntry| {
        let names = inside(&owner.path()).into_iter();
        names.map(move |name| {
            let id = [owner.file_name(), name.file_name()].map(|part| part.into_string().unwrap());
            repository(&id.join("/"), &name.path())
        })
    };
    owners.flat_map(named).collect()
}
