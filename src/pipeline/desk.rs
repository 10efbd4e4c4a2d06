//! Where a person makes the guards of a running pipeline forget what has tripped.

use std::sync::{Arc, OnceLock};

use crate::condition::Memory;
use crate::guard::{Books, Reset, Unreadable};
use crate::ledger::{Ledger, Note};
use crate::pipeline::guards::{Guards, ledger_note};
use crate::pipeline::imported;

/// Reaches the guards once they are there. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<OnceLock<Arc<Guards>>>);

impl Desk {
    pub(crate) fn open(&self, guards: &Arc<Guards>) {
        // A pipeline begins once.
        let _ = self.0.set(Arc::clone(guards));
    }

    /// Makes them forget, durably; says what. The text says why not.
    pub async fn reset(&self, ledger: &Ledger, reset: &Reset) -> Result<String, String> {
        let guards = self.0.get().ok_or("the guards are not there yet")?;
        let (notes, news) = guards.reset(reset);
        ledger.append_noting(Vec::new(), notes).await.map_err(|error| {
            format!(
                "the guards have forgotten it, and a restart would remember it, because it cannot be written: {error}"
            )
        })?;
        tracing::warn!(who = reset.who, why = reset.why, news, "guards reset");
        Ok(news)
    }
}

/// The books of the guards among all notes of a ledger: others keep theirs there too.
pub fn guard_books(notes: &[(String, String)], now_ms: i64) -> Result<Books, Unreadable> {
    let notes = notes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Books::load(notes.filter(|(key, _)| !Memory::owns(key) && !key.starts_with(imported::PREFIX)), now_ms)
}

/// What a reset writes while no pipeline runs, and what it forgets.
pub fn reset_at_rest(books: &mut Books, reset: &Reset) -> (Vec<Note>, String) {
    let change = books.reset(reset);
    (change.notes.into_iter().map(ledger_note).collect(), change.news.join("; "))
}
