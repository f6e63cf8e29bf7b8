//! A directory in which a long run over records keeps what it has done, so that it goes on after whatever ended it.
//!
//! The records of an input are divided into shards. Any number of processes, on one machine or on several that share a
//! file system, take shards under leases and commit the results of each as one file. What is committed stays committed
//! through a kill or a loss of power, and every record has one result in the end:
//!
//! | in the directory | holds |
//! |---|---|
//! | `job.json` | what is done to which input: it must be the same whenever the job is gone on with ([`Identity`]) |
//! | `index.jsonl` | where in the input each shard begins, with a hash of its bytes |
//! | `records.T.zst` | a copy of what is scored of the records, where the input cannot be read from any place on, or they are brought together by their prompts |
//! | `repeats.T.bin` | which contents of a shard were in an earlier one, and where, so that they are computed once |
//! | `shards/NNNNNN.jsonl` | the results of a shard, complete |
//! | `shards/NNNNNN.*.part` | results of a shard that was given back, or whose records are tried one by one |
//! | `leases/NNNNNN.G` | who works on a shard; those before it (lower `G`) died |
//!
//! Nothing here knows what a record or a result is: a result is a line of bytes. All that is done to the directory goes
//! through [`FileSystem`], so that the tests can lose power at every step.

mod difference;
mod error;
mod finished;
mod fs;
mod heartbeat;
mod identity;
mod index;
mod input;
mod job;
mod journal;
mod lease;
mod ordered;
mod repeats;
mod results;
mod seen;
mod sort;
mod spool;
mod summary;

pub use difference::Difference;
pub use error::{JobError, Result};
pub use finished::Finished;
pub use fs::{Directory, FileSystem, NewFile, Scratch};
pub use heartbeat::Heartbeat;
pub use identity::Identity;
pub use index::{Index, IndexWriter, Stretch};
pub use input::{Digested, InputFile};
pub use job::{Awaited, Claim, Committed, Job, JobOptions, Shard};
pub use journal::Journal;
pub use lease::Owner;
pub use ordered::{InOrder, Numbered, OrderOptions, SORT_BYTES};
pub use repeats::{First, Repeats};
pub use results::{Line, ShardResults};
pub use seen::Seen;
pub use spool::{SpoolOptions, SpoolWriter, Spooled, prompt_key, record_hash};
pub use summary::{Distribution, Lengths};

#[cfg(test)]
mod tests;
