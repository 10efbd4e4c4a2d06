//! Whether the topic can be written, partition by partition, and the one [`Health`] that this comes to.
//!
//! A partition is stalled while somebody waits for it: from the first refusal until the last who met one has written, or has
//! given up. Signs of life, all of which go to the first partition, are their own matter: without them nothing starts at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::ledger::Health;

/// What this replica knows of it.
pub(super) struct Writing {
    topic: String,
    stalls: Mutex<Stalls>,
    health: watch::Sender<Health>,
}

#[derive(Default)]
struct Stalls {
    /// Why signs of life do not get through.
    signs: Option<String>,
    /// Why those wait who have something to write, by partition and by who it is.
    waiting: BTreeMap<(u32, u64), String>,
    /// Who is next.
    next: u64,
}

/// Somebody who has something to write; dropped when it is written or given up.
pub(super) struct Writer<'w> {
    writing: &'w Writing,
    partition: u32,
    number: u64,
}

impl Writing {
    pub(super) fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), stalls: Mutex::default(), health: watch::Sender::new(Health::Writable) }
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Why nothing can be written ever again, if so.
    pub(super) fn broken(&self) -> Option<String> {
        match &*self.health.borrow() {
            Health::Broken { reason } => Some(reason.clone()),
            Health::Writable | Health::Stalled { .. } => None,
        }
    }

    /// The topic cannot be trusted any more. Nothing leads back from it.
    pub(super) fn give_up(&self, reason: String) {
        tracing::error!(reason, "the ledger is broken");
        self.health.send_replace(Health::Broken { reason });
    }

    /// Why signs of life do not get through; nothing when one did.
    pub(super) fn signs(&self, trouble: Option<String>) {
        let mut stalls = self.stalls();
        stalls.signs = trouble;
        self.tell(&stalls);
    }

    pub(super) fn writer(&self, partition: u32) -> Writer<'_> {
        let mut stalls = self.stalls();
        stalls.next = stalls.next.wrapping_add(1);
        Writer { writing: self, partition, number: stalls.next }
    }

    fn stalls(&self) -> MutexGuard<'_, Stalls> {
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock of the stalls, so that of two changes the later one is told last.
    fn tell(&self, stalls: &Stalls) {
        let next = stalls.worst(&self.topic);
        self.health.send_if_modified(|health| {
            if *health == next || matches!(health, Health::Broken { .. }) {
                return false;
            }
            match &next {
                Health::Stalled { reason } if *health == Health::Writable => {
                    tracing::error!(reason, "the ledger is stalled");
                }
                Health::Writable => tracing::info!(topic = self.topic, "nothing waits for the ledger any more"),
                Health::Stalled { .. } | Health::Broken { .. } => {}
            }
            *health = next;
            true
        });
    }
}

impl Writer<'_> {
    /// It was refused, may be tried again, and waits until then.
    pub(super) fn waits(&self, why: &str) {
        let mut stalls = self.writing.stalls();
        stalls.waiting.insert((self.partition, self.number), why.to_owned());
        self.writing.tell(&stalls);
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let mut stalls = self.writing.stalls();
        if stalls.waiting.remove(&(self.partition, self.number)).is_some() {
            self.writing.tell(&stalls);
        }
    }
}

impl Stalls {
    /// Signs of life before partitions, a lower partition before a higher one; who else is stalled is named behind it.
    fn worst(&self, topic: &str) -> Health {
        if let Some(why) = &self.signs {
            let reason = format!("the ledger topic {topic} cannot be written: {why}; nothing new starts until it can");
            return Health::Stalled { reason };
        }
        let Some(((first, _), why)) = self.waiting.first_key_value() else { return Health::Writable };
        let mut reason = format!(
            "partition {first} of the ledger topic {topic} cannot be written: {why}; what belongs to it waits until it can"
        );
        let others: BTreeSet<u32> =
            self.waiting.keys().map(|(partition, _)| *partition).filter(|p| p != first).collect();
        for (at, partition) in others.iter().enumerate() {
            let _ = write!(reason, "{}{partition}", if at == 0 { "; so it is with partition " } else { ", " });
        }
        Health::Stalled { reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(writing: &Writing) -> String {
        match &*writing.health().borrow() {
            Health::Stalled { reason } => reason.clone(),
            other => panic!("not stalled: {other:?}"),
        }
    }

    #[test]
    fn a_partition_is_stalled_until_the_last_who_waits_for_it_has_written() {
        let writing = Writing::new("ledger");
        let (one, other) = (writing.writer(2), writing.writer(2));
        assert_eq!(*writing.health().borrow(), Health::Writable, "nobody was refused");
        one.waits("no leader");
        other.waits("no leader");
        drop(one);
        writing.signs(None);
        let said = reason(&writing);
        assert!(said.starts_with("partition 2 of the ledger topic ledger cannot be written: no leader"), "{said}");
        drop(other);
        assert_eq!(*writing.health().borrow(), Health::Writable);
    }

    #[test]
    fn signs_of_life_come_first_and_other_partitions_are_named() {
        let writing = Writing::new("ledger");
        let writers = [3, 1, 4].map(|partition| writing.writer(partition));
        for writer in &writers {
            writer.waits("no leader");
        }
        let said = reason(&writing);
        assert!(said.starts_with("partition 1 ") && said.ends_with("; so it is with partition 3, 4"), "{said}");
        writing.signs(Some("cut".to_owned()));
        assert!(reason(&writing).contains("cannot be written: cut; nothing new starts"), "{}", reason(&writing));
        writing.signs(None);
        assert!(reason(&writing).starts_with("partition 1 "));
    }

    #[test]
    fn nothing_leads_back_from_a_topic_that_cannot_be_trusted() {
        let writing = Writing::new("ledger");
        writing.give_up("its log was cut".to_owned());
        writing.writer(1).waits("no leader");
        writing.signs(None);
        assert_eq!(writing.broken().as_deref(), Some("its log was cut"));
    }
}
