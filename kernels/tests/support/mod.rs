//! What the tests share.

use std::thread;

use fastrand::Rng;
use worldpm_ort_kernels::Threads;

/// Some threads, each of which takes every n-th task.
pub(crate) struct Several(pub(crate) usize);

impl Threads for Several {
    fn count(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync + Send)) {
        thread::scope(|scope| {
            for thread in 0..self.0 {
                scope.spawn(move || (thread..tasks).step_by(self.0).for_each(task));
            }
        });
    }
}

/// Numbers between -1 and 1.
pub(crate) fn floats(rng: &mut Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.f32() * 2.0 - 1.0).collect()
}
