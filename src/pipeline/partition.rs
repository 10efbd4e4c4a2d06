//! One assignment of one partition: what of it is decided, in work, done and committed.

use kafka_proto::id::{LeaderEpoch, Offset};
use kafka_proto::progress::OffsetProgress;
use tokio_util::sync::CancellationToken;

use crate::pipeline::decide::Decided;
use crate::pipeline::feed::{Commit, Right};

/// Records of one partition that may wait behind an unfinished one. More come to this than pausing allows only if a single batch
/// holds that many matches.
const OPEN_MAX: usize = 1 << 20;

/// The partition and how far it is.
#[derive(Debug)]
pub(crate) struct Partition<R> {
    pub(crate) right: R,
    pub(crate) assignment: u64,
    pub(crate) stop: CancellationToken,
    /// Jobs of this assignment that run.
    pub(crate) running: usize,
    /// The offset after the last record that was read.
    read_to: Option<Offset>,
    progress: Option<OffsetProgress>,
    committed: Option<Offset>,
}

impl<R: Right> Partition<R> {
    pub(crate) fn new(right: R, assignment: u64, stop: CancellationToken) -> Self {
        Self { right, assignment, stop, running: 0, read_to: None, progress: None, committed: None }
    }

    /// Takes a decided batch: its open records hold the offset up, the rest is done.
    pub(crate) fn decided(&mut self, decided: &Decided<R>) -> Result<(), String> {
        let progress = self.progress.get_or_insert_with(|| OffsetProgress::new(decided.first, OPEN_MAX));
        for open in &decided.open {
            progress.start(open.offset(), decided.leader_epoch).map_err(|error| error.to_string())?;
        }
        progress.advance_to(decided.next, decided.leader_epoch);
        Ok(())
    }

    /// A record is done.
    pub(crate) fn done(&mut self, offset: Offset) {
        if let Some(progress) = &mut self.progress {
            progress.done(offset);
        }
    }

    /// Records up to this offset were read and are being decided.
    pub(crate) fn read(&mut self, next: Offset) {
        self.read_to = self.read_to.max(Some(next));
    }

    /// Whether reading from there would repeat what was read.
    pub(crate) fn would_repeat(&self, to: Offset) -> bool {
        self.read_to.is_some_and(|read_to| to < read_to)
    }

    /// There is nothing to do below this offset but what was decided already.
    pub(crate) fn passed_over(&mut self, to: Offset) {
        if let Some(progress) = &mut self.progress {
            progress.advance_to(to, LeaderEpoch::UNKNOWN);
        }
    }

    /// Records that wait for a commit because an earlier one is unfinished.
    pub(crate) fn open(&self) -> usize {
        self.progress.as_ref().map_or(0, OffsetProgress::waiting)
    }

    /// What could be committed and is not.
    pub(crate) fn to_commit(&self) -> Option<Commit<R>> {
        let (next, leader_epoch) = self.progress.as_ref()?.committable()?;
        let news = self.committed.is_none_or(|committed| committed < next);
        news.then(|| Commit { right: self.right.clone(), next, leader_epoch })
    }

    /// A commit succeeded.
    pub(crate) fn committed(&mut self, next: Offset) {
        self.committed = self.committed.max(Some(next));
    }
}
