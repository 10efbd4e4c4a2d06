//! Whether a job does anything or only waits for something long at a target.
//!
//! A job whose steps all wait gives its slot among the running incidents to others. Its incident's lane stays taken.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use crate::pipeline::work::News;

/// The steps of one job that are in flight, and those of them that wait.
pub(crate) struct Busy<R> {
    incident: Arc<str>,
    tell: UnboundedSender<News<R>>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    flying: usize,
    waiting: usize,
}

impl Counts {
    const fn parked(&self) -> bool {
        self.flying > 0 && self.waiting == self.flying
    }
}

impl<R> Busy<R> {
    pub(crate) fn new(incident: Arc<str>, tell: UnboundedSender<News<R>>) -> Self {
        Self { incident, tell, counts: Mutex::default() }
    }

    /// A step begins; it ends when this is dropped.
    pub(crate) fn fly(&self) -> Flying<'_, R> {
        self.change(|counts| counts.flying += 1);
        Flying(self)
    }

    /// A step that is in flight waits until this is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_, R> {
        self.change(|counts| counts.waiting += 1);
        Waiting(self)
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = counts.parked();
        change(&mut counts);
        let incident = Arc::clone(&self.incident);
        // Told while the lock is held, so that the news come in the order of what they tell.
        match (before, counts.parked()) {
            (false, true) => drop(self.tell.send(News::Parked { incident })),
            (true, false) => drop(self.tell.send(News::Resumed { incident })),
            (true, true) | (false, false) => {}
        }
    }
}

/// A step in flight.
pub(crate) struct Flying<'b, R>(&'b Busy<R>);

impl<R> Drop for Flying<'_, R> {
    fn drop(&mut self) {
        self.0.change(|counts| counts.flying = counts.flying.saturating_sub(1));
    }
}

/// A step that waits.
pub(crate) struct Waiting<'b, R>(&'b Busy<R>);

impl<R> Drop for Waiting<'_, R> {
    fn drop(&mut self) {
        self.0.change(|counts| counts.waiting = counts.waiting.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_parked_while_all_of_its_steps_wait() {
        let (tell, mut hear) = tokio::sync::mpsc::unbounded_channel::<News<()>>();
        let mut heard = || match hear.try_recv() {
            Ok(News::Parked { .. }) => "parked",
            Ok(News::Resumed { .. }) => "resumed",
            Ok(_) | Err(_) => "nothing",
        };
        let busy = Busy::new(Arc::from("i"), tell);
        let one = busy.fly();
        let two = busy.fly();
        let waits = busy.wait();
        assert_eq!(heard(), "nothing");
        let waits_too = busy.wait();
        assert_eq!(heard(), "parked");
        drop(waits);
        assert_eq!(heard(), "resumed");
        drop(one);
        assert_eq!(heard(), "parked");
        drop((waits_too, two));
        assert_eq!(heard(), "resumed");
        assert_eq!(heard(), "nothing");
    }
}
