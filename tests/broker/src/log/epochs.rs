//! The leader epochs of a partition and where each began (KIP-101, KIP-320).

/// Epochs in ascending order, each with its first offset.
#[derive(Debug, Clone, Default)]
pub(super) struct Epochs(Vec<(i32, i64)>);

impl Epochs {
    /// A leader of `epoch` writes from `at` on; one that is not newer than the last is no news.
    pub(super) fn begin(&mut self, epoch: i32, at: i64) {
        if self.0.last().is_none_or(|(newest, _)| *newest < epoch) {
            self.0.retain(|(_, start)| *start < at);
            self.0.push((epoch, at));
        }
    }

    /// The largest epoch at or below `epoch` and the offset at which it ended; `None` for one newer than all.
    pub(super) fn end_of(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        if epoch > self.0.last()?.0 {
            return None;
        }
        let next = self.0.partition_point(|(known, _)| *known <= epoch);
        let end = self.0.get(next).map_or(log_end, |(_, start)| *start);
        let known = next.checked_sub(1).and_then(|at| self.0.get(at)).map_or(epoch, |(known, _)| *known);
        Some((known, end))
    }

    /// The epoch under which `offset` was written, -1 where unknown.
    pub(super) fn of(&self, offset: i64) -> i32 {
        let next = self.0.partition_point(|(_, start)| *start <= offset);
        next.checked_sub(1).and_then(|at| self.0.get(at)).map_or(-1, |(epoch, _)| *epoch)
    }

    /// Forgets those that began at or after the new end of the log.
    pub(super) fn truncate(&mut self, log_end: i64) {
        self.0.retain(|(_, start)| *start < log_end);
    }
}
