//! A file system that loses power, and processes that are killed, in an order that a seed decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Cursor, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;

use crate::fs::{FileSystem, NewFile, Scratch};

/// What there is, and what of it would be there after a loss of power.
pub(super) struct World {
    rng: Rng,
    files: Vec<Inode>,
    dirs: BTreeMap<String, Dir>,
    clock: Duration,
    /// The processes that have not ended, and whether they wait for their turn.
    waiting: BTreeMap<usize, bool>,
    turn: Option<usize>,
    killed: BTreeSet<usize>,
    /// Steps until power is lost.
    pub(super) steps_left: Option<u64>,
    pub(super) lost: bool,
    /// In how many steps a process is killed, once; 0 for never.
    pub(super) killed_every: u64,
    /// Whether syncing does nothing, so that a test can see that it would be noticed.
    pub(super) is_lazy: bool,
    pub(super) kills: u64,
    /// Bytes that the disk has room for.
    pub(super) room: Option<u64>,
    /// Shards whose commit came back.
    pub(super) promised: BTreeSet<usize>,
}

#[derive(Default)]
struct Inode {
    synced: Vec<u8>,
    data: Vec<u8>,
    modified: Duration,
}

#[derive(Default)]
struct Dir {
    is_durable: bool,
    durable: BTreeMap<String, usize>,
    names: BTreeMap<String, usize>,
    /// What was done since the last sync, each in one step.
    pending: Vec<Vec<(String, Option<usize>)>>,
}

pub(super) struct Sim {
    world: Mutex<World>,
    turns: Condvar,
}

/// The file system as one process has it.
#[derive(Clone)]
pub(super) struct SimFs {
    pub(super) sim: Arc<Sim>,
    process: usize,
}

struct SimFile {
    fs: SimFs,
    inode: usize,
}

/// A file without a name.
struct SimScratch {
    fs: SimFs,
    data: Cursor<Vec<u8>>,
}

impl Sim {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let root = Dir {
            is_durable: true,
            ..Dir::default()
        };
        Arc::new(Self {
            world: Mutex::new(World {
                rng: Rng::with_seed(seed),
                files: Vec::new(),
                dirs: BTreeMap::from([(String::new(), root)]),
                clock: Duration::from_secs(1_000_000),
                waiting: BTreeMap::new(),
                turn: None,
                killed: BTreeSet::new(),
                steps_left: None,
                lost: false,
                killed_every: 0,
                is_lazy: false,
                kills: 0,
                room: None,
                promised: BTreeSet::new(),
            }),
            turns: Condvar::new(),
        })
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// A process that is about to start.
    pub(super) fn process(self: &Arc<Self>, process: usize) -> SimFs {
        self.world().waiting.insert(process, false);
        SimFs {
            sim: Arc::clone(self),
            process,
        }
    }

    /// What is there after a loss of power, with everything that ran then gone.
    pub(super) fn lose_power(&self) {
        let mut world = self.world();
        let World {
            rng, files, dirs, ..
        } = &mut *world;
        dirs.retain(|_, dir| dir.is_durable || rng.bool());
        for dir in dirs.values_mut() {
            for step in std::mem::take(&mut dir.pending) {
                if rng.bool() {
                    for (name, inode) in step {
                        match inode {
                            Some(inode) => dir.durable.insert(name, inode),
                            None => dir.durable.remove(&name),
                        };
                    }
                }
            }
            dir.names.clone_from(&dir.durable);
            dir.is_durable = true;
        }
        for file in files {
            if file.data != file.synced {
                let kept = rng.usize(file.synced.len()..=file.data.len());
                file.data.truncate(kept);
                // A length may be kept without what it is the length of.
                if rng.bool() {
                    file.data[file.synced.len()..].fill(0);
                }
                file.synced.clone_from(&file.data);
            }
        }
        world.lost = false;
        world.steps_left = None;
        world.waiting.clear();
        world.killed.clear();
        world.turn = None;
    }

    /// Reads without being a process.
    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        let world = self.world();
        let inode = world.find(path).ok()?;
        Some(world.files[inode].data.clone())
    }

    pub(super) fn names(&self, dir: &str) -> Vec<String> {
        let world = self.world();
        let dir = world.dirs.get(dir);
        dir.map_or(Vec::new(), |dir| dir.names.keys().cloned().collect())
    }
}

impl World {
    fn find(&self, path: &str) -> io::Result<usize> {
        let (dir, name) = split(path);
        let dir = self.dirs.get(dir).ok_or(io::ErrorKind::NotFound)?;
        dir.names
            .get(name)
            .copied()
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn dir(&mut self, path: &str) -> io::Result<&mut Dir> {
        self.dirs
            .get_mut(path)
            .ok_or(io::ErrorKind::NotFound.into())
    }

    /// Changes names in one step.
    fn change(&mut self, dir: &str, step: Vec<(String, Option<usize>)>) -> io::Result<()> {
        let dir = self.dir(dir)?;
        for (name, inode) in step.clone() {
            match inode {
                Some(inode) => dir.names.insert(name, inode),
                None => dir.names.remove(&name),
            };
        }
        dir.pending.push(step);
        Ok(())
    }

    /// Lets one of the processes go on, when all of them wait.
    fn pass_turn(&mut self) {
        if self.turn.is_none() && self.waiting.values().all(|waits| *waits) {
            let waiting: Vec<usize> = self.waiting.keys().copied().collect();
            self.turn = self.rng.choice(waiting);
        }
    }

    /// Uses room on the disk up.
    fn take_room(&mut self, bytes: usize) -> io::Result<()> {
        if let Some(room) = &mut self.room {
            *room = room
                .checked_sub(bytes as u64)
                .ok_or(io::ErrorKind::StorageFull)?;
        }
        Ok(())
    }

    fn make(&mut self, path: &str) -> io::Result<usize> {
        let (dir, name) = split(path);
        let inode = self.files.len();
        let modified = self.clock;
        self.files.push(Inode {
            modified,
            ..Inode::default()
        });
        self.change(dir, vec![(name.to_owned(), Some(inode))])?;
        Ok(inode)
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl SimFs {
    /// Does one thing when it is this process's turn, if it lives.
    fn step<T>(&self, act: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.sim.world();
        if world.lost || world.killed.contains(&self.process) {
            return Err(io::Error::other("killed"));
        }
        world.waiting.insert(self.process, true);
        world.pass_turn();
        self.sim.turns.notify_all();
        let mut world = self
            .sim
            .turns
            .wait_while(world, |world| {
                world.turn != Some(self.process) && !world.lost
            })
            .unwrap();
        world.turn = None;
        world.waiting.insert(self.process, false);
        if let Some(left) = &mut world.steps_left {
            *left = left.saturating_sub(1);
            world.lost |= *left == 0;
        }
        let every = world.killed_every;
        if every > 0 && world.rng.u64(..every) == 0 {
            world.kills += 1;
            world.killed.insert(self.process);
        }
        let is_dead = world.lost || world.killed.contains(&self.process);
        let elapsed = Duration::from_millis(world.rng.u64(1..30));
        world.clock += elapsed;
        let done = match is_dead {
            true => Err(io::Error::other("killed")),
            false => act(&mut world),
        };
        self.sim.turns.notify_all();
        done
    }

    /// Lets time pass.
    pub(super) fn pause(&self) -> io::Result<()> {
        self.step(|world| {
            let elapsed = Duration::from_millis(world.rng.u64(1..500));
            world.clock += elapsed;
            Ok(())
        })
    }

    /// The process ends, by itself or killed.
    pub(super) fn end(&self) {
        let mut world = self.sim.world();
        world.waiting.remove(&self.process);
        world.killed.remove(&self.process);
        world.pass_turn();
        self.sim.turns.notify_all();
    }

    /// The process is killed where it stands.
    pub(super) fn die(&self) {
        let mut world = self.sim.world();
        world.kills += 1;
        world.killed.insert(self.process);
    }
}

impl FileSystem for SimFs {
    fn make_dir(&self, path: &str) -> io::Result<()> {
        self.step(|world| {
            world.dirs.entry(path.to_owned()).or_default();
            Ok(())
        })
    }

    fn create_new(&self, path: &str) -> io::Result<Box<dyn NewFile>> {
        let inode = self.step(|world| match world.find(path) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => world.make(path),
        })?;
        Ok(Box::new(SimFile {
            fs: self.clone(),
            inode,
        }))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        let data = self.step(|world| {
            let inode = world.find(path)?;
            Ok(world.files[inode].data.clone())
        })?;
        Ok(Box::new(Cursor::new(data)))
    }

    fn open_at(&self, path: &str, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let data = self.step(|world| {
            let inode = world.find(path)?;
            Ok(world.files[inode].data.clone())
        })?;
        let mut data = Cursor::new(data);
        data.set_position(offset);
        Ok(Box::new(data))
    }

    fn scratch(&self) -> io::Result<Box<dyn Scratch>> {
        Ok(Box::new(SimScratch {
            fs: self.clone(),
            data: Cursor::new(Vec::new()),
        }))
    }

    fn publish(&self, from: &str, to: &str) -> io::Result<bool> {
        self.step(|world| {
            let ((dir, from_name), (to_dir, to_name)) = (split(from), split(to));
            assert_eq!(dir, to_dir);
            let inode = world.find(from)?;
            if world.find(to).is_ok() {
                return Ok(false);
            }
            let step = vec![
                (from_name.to_owned(), None),
                (to_name.to_owned(), Some(inode)),
            ];
            world.change(dir, step)?;
            Ok(true)
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.step(|world| {
            world.find(path)?;
            let (dir, name) = split(path);
            world.change(dir, vec![(name.to_owned(), None)])
        })
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.step(|world| {
            if world.is_lazy {
                return Ok(());
            }
            let dir = world.dir(path)?;
            dir.durable.clone_from(&dir.names);
            dir.pending.clear();
            if path.is_empty() {
                world
                    .dirs
                    .values_mut()
                    .for_each(|dir| dir.is_durable = true);
            }
            Ok(())
        })
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.step(|world| Ok(world.dir(path)?.names.keys().cloned().collect()))
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.step(|world| Ok(world.find(path).is_ok()))
    }

    fn touch(&self, path: &str, make: bool) -> io::Result<()> {
        self.step(|world| {
            let inode = match world.find(path) {
                Err(_) if make => world.make(path)?,
                found => found?,
            };
            world.files[inode].modified = world.clock;
            Ok(())
        })
    }

    fn modified(&self, path: &str) -> io::Result<Duration> {
        self.step(|world| {
            let inode = world.find(path)?;
            Ok(world.files[inode].modified)
        })
    }

    fn locate(&self, path: &str) -> PathBuf {
        PathBuf::from("job").join(path)
    }
}

impl Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.fs.step(|world| {
            // As much as the system takes.
            let count = match bytes.len() {
                0 | 1 => bytes.len(),
                most => world.rng.usize(1..=most),
            };
            world.take_room(count)?;
            let clock = world.clock;
            let file = &mut world.files[self.inode];
            file.data.extend_from_slice(&bytes[..count]);
            file.modified = clock;
            Ok(count)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        self.fs.step(|world| {
            if !world.is_lazy {
                let file = &mut world.files[self.inode];
                file.synced.clone_from(&file.data);
            }
            Ok(())
        })
    }
}

impl Read for SimScratch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.data.read(buffer)
    }
}

impl Seek for SimScratch {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.data.seek(to)
    }
}

impl Write for SimScratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.fs.step(|world| world.take_room(bytes.len()))?;
        self.data.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
