//! What a job asks of a file system, so that the tests can give it one that loses power.

use std::{
    io::{self, Read, Seek, Write},
    path::PathBuf,
    time::Duration,
};

/// The files of one directory. Paths are relative to it, with `/`; the empty path is the directory itself.
pub trait FileSystem: Send + Sync {
    /// Makes a directory, unless it is there.
    ///
    /// # Errors
    /// The system's, as of all that follows.
    fn make_dir(&self, path: &str) -> io::Result<()>;

    /// Makes a file that is not there yet.
    ///
    /// # Errors
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) where it is: of several who try, one succeeds.
    fn create_new(&self, path: &str) -> io::Result<Box<dyn NewFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) where there is none.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>>;

    /// Opens a file for reading from a byte on.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) where there is none.
    fn open_at(&self, path: &str, offset: u64) -> io::Result<Box<dyn Read + Send>>;

    /// A file without a name, which nobody else sees, and of which nothing is left when it is dropped or the process ends.
    ///
    /// # Errors
    /// The system's.
    fn scratch(&self) -> io::Result<Box<dyn Scratch>>;

    /// Gives the file `from` the name `to`, in one step, unless that name is taken: then nothing is done, and `false`
    /// comes back.
    ///
    /// # Errors
    /// The system's.
    fn publish(&self, from: &str, to: &str) -> io::Result<bool>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) where there is none.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Returns when the names in a directory will outlast a loss of power.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// The names in a directory, in any order.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Whether there is a file.
    ///
    /// # Errors
    /// The system's.
    fn exists(&self, path: &str) -> io::Result<bool>;

    /// Sets the time of a file to now, by the clock of whoever keeps the files. With `make` it is made where there is
    /// none.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) where there is none and none is made.
    fn touch(&self, path: &str, make: bool) -> io::Result<()>;

    /// The time of a file, since 1970, by the clock of whoever keeps the files.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) where there is none.
    fn modified(&self, path: &str) -> io::Result<Duration>;

    /// The whole path, for messages.
    fn locate(&self, path: &str) -> PathBuf;
}

/// A file without a name, to read what was written to it.
pub trait Scratch: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> Scratch for T {}

/// A file that is being written.
pub trait NewFile: Write + Send {
    /// Returns when what was written will outlast a loss of power. Its name may not: see [`FileSystem::sync_dir`].
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> io::Result<()>;
}
