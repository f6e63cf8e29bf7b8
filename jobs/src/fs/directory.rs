//! A real directory.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use rustix::{
    fs::{CWD, RenameFlags, Timespec, Timestamps, UTIME_NOW, futimens, renameat_with},
    io::Errno,
};

use super::system::{FileSystem, NewFile, Scratch};

/// A directory of this machine, or of one whose files it shares.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Opens a directory, and makes it where there is none.
    ///
    /// # Errors
    /// The system's.
    pub fn open(root: &Path) -> io::Result<Self> {
        if !root.is_dir() {
            fs::create_dir_all(root)?;
            if let Some(parent) = root.parent() {
                sync(match parent.as_os_str().is_empty() {
                    true => Path::new("."),
                    false => parent,
                })?;
            }
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }
}

impl FileSystem for Directory {
    fn make_dir(&self, path: &str) -> io::Result<()> {
        match fs::create_dir(self.locate(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn create_new(&self, path: &str) -> io::Result<Box<dyn NewFile>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        Ok(Box::new(options.open(self.locate(path))?))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self.locate(path))?))
    }

    fn open_at(&self, path: &str, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(self.locate(path))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }

    fn scratch(&self) -> io::Result<Box<dyn Scratch>> {
        let file = match tempfile::tempfile_in(&self.root) {
            // The results of a job may be read where nothing can be written.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                tempfile::tempfile()
            }
            made => made,
        };
        Ok(Box::new(file?))
    }

    fn publish(&self, from: &str, to: &str) -> io::Result<bool> {
        let (from, to) = (self.locate(from), self.locate(to));
        match renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => return Ok(false),
            // Not every file system has it; NFS has not.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
        match fs::hard_link(&from, &to) {
            Ok(()) => {
                // The name that is left over is only in the way.
                let _ = fs::remove_file(&from);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            // Without links either, the moment between these two is a risk: one of two equal files is replaced.
            Err(_) if to.try_exists()? => Ok(false),
            Err(_) => fs::rename(&from, &to).map(|()| true),
        }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.locate(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        sync(&self.locate(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let names = fs::read_dir(self.locate(path))?;
        names
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.locate(path).try_exists()
    }

    fn touch(&self, path: &str, make: bool) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(make).open(self.locate(path))?;
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        Ok(futimens(&file, &times)?)
    }

    fn modified(&self, path: &str) -> io::Result<Duration> {
        // What is asked by name may come from a cache, of NFS say, and be old; what is asked of a file that is opened for it
        // does not.
        let modified = File::open(self.locate(path))?.metadata()?.modified()?;
        Ok(modified.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn locate(&self, path: &str) -> PathBuf {
        match path {
            "" => self.root.clone(),
            path => self.root.join(path),
        }
    }
}

impl NewFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some file systems have nothing to sync of a directory.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_stays() {
        let dir = tempfile::tempdir().unwrap();
        let files = Directory::open(&dir.path().join("a/b")).unwrap();
        files.make_dir("d").unwrap();
        files.make_dir("d").unwrap();
        let write = |path: &str, text: &str| {
            let mut file = files.create_new(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.sync().unwrap();
        };
        write("d/one", "1");
        write("d/two", "2");
        assert!(files.publish("d/one", "d/x").unwrap());
        assert!(!files.publish("d/two", "d/x").unwrap());
        let mut text = String::new();
        files
            .open("d/x")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "1");
        files.sync_dir("d").unwrap();
        let mut names = files.list("d").unwrap();
        names.sort();
        assert_eq!(names, ["two", "x"]);
        let again = files.create_new("d/x").map(drop).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let missing = files.touch("d/none", false).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        files.touch("d/clock", true).unwrap();
        let now = files.modified("d/clock").unwrap();
        files.touch("d/x", false).unwrap();
        assert!(files.modified("d/x").unwrap() >= now);
        files.remove("d/x").unwrap();
        assert!(!files.exists("d/x").unwrap());
    }
}
