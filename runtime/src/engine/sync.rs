//! What the threads of an engine share. `model_check` has another module of the same names.

pub(super) use std::{
    sync::{Arc, Mutex, Weak, atomic, mpsc},
    thread,
};
