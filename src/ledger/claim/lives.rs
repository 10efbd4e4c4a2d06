//! Which other replicas may be taken for dead. Time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ledger::claim::Session;

/// When other sessions were last heard of, on this replica's own monotonic clock.
///
/// A session counts as dead when a mark of ours that was *sent* a lease after the last word of it has come back from the
/// topic with no other word in front: a replica that was stopped itself, or reads slowly, is no judge of others before it
/// has caught up. The session itself stops starting things before that, see [`super::Lease`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lives {
    length: Duration,
    heard: BTreeMap<Session, Duration>,
    /// When the last mark that has come back was sent.
    mark: Option<Duration>,
}

impl Lives {
    /// Nobody was heard of yet; a lease is this long.
    pub(crate) const fn new(length: Duration) -> Self {
        Self { length, heard: BTreeMap::new(), mark: None }
    }

    /// A word of a session was read now.
    pub(crate) fn heard(&mut self, session: &Session, now: Duration) {
        self.heard.insert(session.clone(), now);
    }

    /// A session is named as a holder. Of one that was never heard of a lease is waited for all the same.
    pub(crate) fn named(&mut self, session: &Session, now: Duration) {
        self.heard.entry(session.clone()).or_insert(now);
    }

    /// A mark of our own was read that was sent then.
    pub(crate) fn marked(&mut self, sent: Duration) {
        self.mark = self.mark.max(Some(sent));
    }

    /// When the last mark that was read was sent.
    pub(crate) const fn mark(&self) -> Option<Duration> {
        self.mark
    }

    /// Whether what a session holds may be claimed.
    pub(crate) fn lapsed(&self, session: &Session) -> bool {
        let heard = self.heard.get(session).map(|heard| heard.saturating_add(self.length));
        matches!((heard, self.mark), (Some(dead_from), Some(mark)) if mark >= dead_from)
    }

    /// Forgets sessions that nothing was heard of since `before`, and says which.
    pub(crate) fn forget(&mut self, before: Duration) -> Vec<Session> {
        let gone: Vec<Session> =
            self.heard.iter().filter(|(_, heard)| **heard < before).map(|(session, _)| session.clone()).collect();
        self.heard.retain(|_, heard| *heard >= before);
        gone
    }

    /// The same with other names; sessions without a name are forgotten.
    #[cfg(test)]
    pub(crate) fn renamed(&self, name: impl Fn(&Session) -> Option<Session>) -> Self {
        let heard = self.heard.iter().filter_map(|(session, heard)| Some((name(session)?, *heard))).collect();
        Self { length: self.length, heard, mark: self.mark }
    }

    /// The same on a clock that goes on by `by` and shows `now` all the time; what can make no difference any more is forgotten.
    #[cfg(test)]
    pub(crate) fn aged(&mut self, by: Duration, now: Duration) {
        let oldest = now.saturating_sub(self.length);
        let lapsed: Vec<Session> = self.heard.keys().filter(|session| self.lapsed(session)).cloned().collect();
        self.mark = self.mark.map(|mark| mark.saturating_sub(by).max(oldest));
        for (session, heard) in &mut self.heard {
            *heard = match self.mark {
                Some(mark) if lapsed.contains(session) => mark.saturating_sub(self.length),
                _ => heard.saturating_sub(by).max(oldest),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn dead_is_who_was_silent_for_a_lease_in_front_of_a_mark() {
        let (mut lives, other) = (Lives::new(s(10)), Session::new("b"));
        lives.marked(s(50));
        assert!(!lives.lapsed(&other), "never heard of");
        lives.named(&other, s(50));
        lives.marked(s(59));
        assert!(!lives.lapsed(&other));
        lives.marked(s(60));
        assert!(lives.lapsed(&other));
        lives.heard(&other, s(61));
        assert!(!lives.lapsed(&other), "it lives after all");
    }

    #[test]
    fn who_was_stopped_itself_does_not_judge_before_it_has_caught_up() {
        let (mut lives, other) = (Lives::new(s(10)), Session::new("b"));
        lives.heard(&other, s(1));
        lives.marked(s(2));
        // A minute later nothing was read yet: the mark is as old as the last word.
        assert!(!lives.lapsed(&other));
    }
}
