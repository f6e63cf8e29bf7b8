//! What the threads of a queue share. `model_check` has another module of the same names.

pub(super) use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, Weak},
    thread,
};
