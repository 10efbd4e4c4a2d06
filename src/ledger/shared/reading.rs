//! What is read from the topic: into the copy, to whoever waits for it, and into what is known of the other replicas.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::ledger::shared::topic::{Tail, TopicRecord};
use crate::ledger::shared::{Replica, Verdict, wire};
use crate::ledger::store::Heard;

impl Replica {
    pub(super) fn waiting(&self) -> MutexGuard<'_, HashMap<u64, mpsc::UnboundedSender<Verdict>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads for ever, or until the log cannot be trusted.
    pub(super) async fn follow(self: Arc<Self>, mut tail: Box<dyn Tail>) {
        let detail = loop {
            match tail.next().await {
                Ok(records) => {
                    if let Err(detail) = self.take(records).await {
                        break detail;
                    }
                }
                Err(detail) => break detail,
            }
        };
        let reason = format!("the ledger topic {} cannot be followed: {detail}", self.topic.name());
        self.writing.give_up(reason);
        // Whoever waits for a line to come back learns that it will not.
        self.waiting().clear();
    }

    /// Takes a page of the log. The error is for people.
    pub(super) async fn take(&self, records: Vec<TopicRecord>) -> Result<(), String> {
        let mut page = Vec::with_capacity(records.len());
        let mut mark = None;
        for record in &records {
            match wire::read(record)? {
                wire::Word::Copy(heard) => {
                    if let Heard::Line { line, .. } = &heard
                        && line.by != self.session
                    {
                        self.lives().heard(&line.by, self.now());
                    }
                    page.push(heard);
                }
                wire::Word::Alive(session, sent_ms) if session == self.session => mark = Some(sent_ms),
                wire::Word::Alive(session, _) => self.lives().heard(&session, self.now()),
                // Nothing follows from it: a lease is waited for all the same.
                wire::Word::Ended(_) => {}
            }
        }
        let page = Arc::new(page);
        let verdicts = if page.is_empty() { Vec::new() } else { self.copied(&page).await? };
        for (heard, verdict) in page.iter().zip(verdicts) {
            let (Heard::Line { name, line, .. }, Some(verdict)) = (heard, verdict) else { continue };
            if line.by == self.session {
                let number = name.split('/').next().and_then(|number| number.parse().ok());
                let waiter = number.and_then(|number: u64| self.waiting().remove(&number));
                // Nobody waits any more: what was to follow is not done.
                let _ = waiter.map(|waiter| waiter.send(verdict));
            }
        }
        // Last: a mark says that what was in front of it is known.
        if let Some(sent_ms) = mark {
            self.lives().marked(Duration::from_millis(sent_ms));
        }
        self.read.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    async fn copied(&self, page: &Arc<Vec<Heard>>) -> Result<Vec<Option<Verdict>>, String> {
        let (store, page) = (Arc::clone(&self.store), Arc::clone(page));
        let path = store.path().display().to_string();
        let followed = tokio::task::spawn_blocking(move || store.follow(&page)).await;
        let followed = followed.map_err(|_| format!("writing its copy {path} panicked; see the log above"))?;
        followed.map_err(|fault| match fault {
            crate::ledger::error::Fault::Heals(detail) | crate::ledger::error::Fault::Damaged(detail) => {
                format!("its copy {path} cannot be written: {detail}")
            }
        })
    }
}
