//! Committed offsets: fetch, commit, reset.
//!
//! Promised: an offset is sent only while the assignment it was read under is ours (the broker accepts stale commits, so
//! nobody else would stop them); "there is no committed offset" is believed only on an explicit -1 without an error; a
//! position changes only with an event that says why. Absent: automatic commits.

mod commit;
mod committer;
mod coordinator;
mod lookup;

pub(crate) use commit::CommitJob;
pub use commit::{Commit, CommitError, CommitReport, CommittedOffset, DropCause, DroppedOffset, RejectedOffset};
pub(crate) use committer::{Committer, Member};
pub(crate) use coordinator::Coordinator;
pub(crate) use lookup::{EndQuestion, Found, OffsetQuestion, ask_committed, ask_epoch_ends, ask_offsets};
