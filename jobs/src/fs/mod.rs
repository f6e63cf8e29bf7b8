//! What a job asks of a file system, so that the tests can give it one that loses power.

mod directory;
mod system;

pub use directory::Directory;
pub use system::{FileSystem, NewFile, Scratch};
