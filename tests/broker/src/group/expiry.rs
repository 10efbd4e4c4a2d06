//! What time does to a group: sessions end, joins and syncs are waited for no longer.

use std::time::Instant;

use super::{Group, GroupSettings, GroupState};

impl Group {
    /// When [`Group::expire`] has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.members.iter().filter_map(super::Member::session_deadline);
        let pending = self.pending.values().copied();
        sessions.chain(pending).chain(self.join_deadline).chain(self.sync_deadline).min()
    }

    /// Does what is due.
    pub(crate) fn expire(&mut self, settings: &GroupSettings, now: Instant) {
        self.pending.retain(|_, deadline| *deadline > now);
        let dead =
            self.members.iter().filter(|member| member.session_deadline().is_some_and(|deadline| deadline <= now));
        for id in dead.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.remove(&id, settings, now);
        }
        if self.sync_deadline.is_some_and(|deadline| deadline <= now) {
            self.sync_deadline = None;
            self.expire_syncs(settings, now);
        }
        if self.join_deadline.is_some_and(|deadline| deadline <= now) {
            self.join_deadline = None;
            self.complete_join(now);
        }
        self.complete_join_if_all_joined(now);
    }

    /// Removes those who never fetched their assignment, in this generation.
    fn expire_syncs(&mut self, settings: &GroupSettings, now: Instant) {
        if !matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable) {
            return;
        }
        let missing = self.members.iter().filter(|member| !member.synced).map(|member| member.id.clone());
        for id in missing.collect::<Vec<_>>() {
            self.remove(&id, settings, now);
        }
    }

    /// Ends the session of one member now, as if it had not been heard of.
    pub(crate) fn expire_member(&mut self, id: &str, settings: &GroupSettings, now: Instant) {
        self.remove(id, settings, now);
    }
}
