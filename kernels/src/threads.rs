/// The threads that a product is computed on.
pub trait Threads {
    /// How many there are, at least 1. No result depends on it.
    fn count(&self) -> usize;

    /// Calls `task` with each number below `tasks`, on any thread and in any order, and returns when all are done.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync + Send));
}

/// The calling thread alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneThread;

impl Threads for OneThread {
    fn count(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync + Send)) {
        (0..tasks).for_each(task);
    }
}
