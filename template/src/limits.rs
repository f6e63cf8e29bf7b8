//! How much a template may take: time, memory and depth.
//!
//! One meter per thread counts the bytes of all values that live, and, while a template renders, what it has done.
//! Every node evaluated, every step of a loop and every 64 bytes made or looked at cost one unit of work. Bytes are
//! asked for before they are taken, so a template that wants too many fails before the memory is gone.

use std::cell::Cell;

use crate::error::{Error, Result, limit};

/// What one render may use. The defaults leave the largest real templates, on conversations of a million tokens, two
/// orders of magnitude of room; what grows with the input is counted from the size of the values passed in.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Units of work: 20 million.
    pub work: u64,
    /// Further units for each byte of input: 16.
    pub work_per_byte: u64,
    /// Bytes of memory for the values and the text that a render makes: 64 MiB.
    pub memory: usize,
    /// Further bytes for each byte of input: 16.
    pub memory_per_byte: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            work: 20_000_000,
            work_per_byte: 16,
            memory: 64 << 20,
            memory_per_byte: 16,
        }
    }
}

/// Values may contain values so deep, and no deeper, so that writing and dropping them needs little stack.
pub(crate) const MAX_VALUE_DEPTH: u16 = 200;
/// Macros and recursive loops may call themselves so deep; Python stops near here as well.
pub(crate) const MAX_CALLS: u32 = 200;
/// Expressions and statements may be nested so deep in a template's text.
pub(crate) const MAX_NESTING: u32 = 100;
/// The stack that a render may take, in bytes; half of what a thread has by default.
const MAX_STACK: usize = 1 << 20;

struct Meter {
    live: Cell<usize>,
    live_limit: Cell<usize>,
    work_left: Cell<u64>,
    stack_base: Cell<usize>,
}

thread_local! {
    static METER: Meter = const { Meter {
        live: Cell::new(0),
        live_limit: Cell::new(usize::MAX),
        work_left: Cell::new(u64::MAX),
        stack_base: Cell::new(0),
    } };
}

/// The meter runs against `limits` until this is dropped.
pub(crate) struct Metered {
    before: (usize, u64, usize),
}

impl Metered {
    pub(crate) fn start(limits: &Limits) -> Self {
        METER.with(|meter| {
            let input = meter.live.get();
            let memory = limits
                .memory
                .saturating_add(limits.memory_per_byte.saturating_mul(input));
            let work = limits
                .work
                .saturating_add(limits.work_per_byte.saturating_mul(input as u64));
            Self {
                before: (
                    meter.live_limit.replace(input.saturating_add(memory)),
                    meter.work_left.replace(work),
                    meter.stack_base.replace(stack_position()),
                ),
            }
        })
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        METER.with(|meter| {
            meter.live_limit.set(self.before.0);
            meter.work_left.set(self.before.1);
            meter.stack_base.set(self.before.2);
        });
    }
}

#[inline(never)]
fn stack_position() -> usize {
    let marker = 0u8;
    std::ptr::from_ref(&marker) as usize
}

/// Fails when the stack taken since the render began is too much.
pub(crate) fn check_stack() -> Result<()> {
    let base = METER.with(|meter| meter.stack_base.get());
    if base != 0 && base.abs_diff(stack_position()) > MAX_STACK {
        return Err(limit("the template nests its calls too deeply"));
    }
    Ok(())
}

/// Counts `units` of work.
pub(crate) fn work(units: u64) -> Result<()> {
    METER.with(|meter| match meter.work_left.get().checked_sub(units) {
        Some(left) => {
            meter.work_left.set(left);
            Ok(())
        }
        None => Err(too_long()),
    })
}

/// Counts the work of looking at `bytes` of text.
pub(crate) fn scan(bytes: usize) -> Result<()> {
    work(bytes as u64 / 64)
}

#[cold]
fn too_long() -> Error {
    limit("the template takes too long on this input (an endless or too often nested loop?)")
}

/// Asks for `bytes` of memory that are about to be taken, and counts the work of filling them.
pub(crate) fn reserve(bytes: usize) -> Result<()> {
    let fits = METER.with(|meter| {
        let live = meter.live.get();
        bytes <= meter.live_limit.get().saturating_sub(live)
    });
    if !fits {
        return Err(limit(format!(
            "the template makes a value of {bytes} bytes, and all its values together would be too large"
        )));
    }
    scan(bytes)
}

/// As [`reserve`], for `count` items of `size` bytes.
pub(crate) fn reserve_items(count: usize, size: usize) -> Result<()> {
    reserve(count.saturating_mul(size))
}

/// Bytes counted as living until this is dropped.
#[derive(Debug)]
pub(crate) struct Tracked(usize);

impl Tracked {
    pub(crate) fn new(bytes: usize) -> Self {
        Self::add(bytes);
        Self(bytes)
    }

    /// Counts bytes until [`Self::remove`].
    pub(crate) fn add(bytes: usize) {
        METER.with(|meter| meter.live.set(meter.live.get() + bytes));
    }

    pub(crate) fn remove(bytes: usize) {
        // At the end of a thread the meter may be gone before the last value.
        let _ = METER.try_with(|meter| meter.live.set(meter.live.get().saturating_sub(bytes)));
    }

    pub(crate) fn grow(&mut self, bytes: usize) {
        Self::add(bytes);
        self.0 += bytes;
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        Self::remove(self.0);
    }
}
