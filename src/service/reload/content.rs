//! Whether what a file holds is new. Pure: files and clock belong to the caller.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Between looks at something that has just changed, and may still be written.
const AGAIN: Duration = Duration::from_secs(1);

/// What a file holds, told apart without keeping it; `None`: it could not be read.
type Content = Option<[u8; 32]>;

/// A file as it was seen so far.
#[derive(Debug)]
pub(super) struct Seen {
    /// What was acted upon.
    known: Content,
    /// Something else that was seen once.
    fresh: Option<Content>,
}

impl Seen {
    /// What is in use.
    pub(super) fn new(text: &str) -> Self {
        Self { known: Some(digest(text)), fresh: None }
    }

    /// Takes what a look has found (`None`: nothing readable). Whether it is to be acted upon: it is new, and it was there
    /// twice in a row, so it is no file that is being written.
    pub(super) fn take(&mut self, found: Option<&str>) -> bool {
        let found = found.map(digest);
        if found == self.known {
            self.fresh = None;
            return false;
        }
        if self.fresh != Some(found) {
            self.fresh = Some(found);
            return false;
        }
        (self.known, self.fresh) = (found, None);
        true
    }

    /// Notes what was acted upon for another reason.
    pub(super) fn acted_on(&mut self, text: Option<&str>) {
        (self.known, self.fresh) = (text.map(digest), None);
    }

    /// When to look again.
    pub(super) fn next_look(&self) -> Duration {
        if self.fresh.is_some() { AGAIN } else { EVERY }
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_counts_when_it_was_seen_twice_and_only_once() {
        let mut seen = Seen::new("a");
        assert!(!seen.take(Some("a")));
        assert_eq!(seen.next_look(), EVERY);
        assert!(!seen.take(Some("b")), "it may still be written");
        assert_eq!(seen.next_look(), AGAIN);
        assert!(!seen.take(Some("bc")), "it was");
        assert!(seen.take(Some("bc")));
        assert_eq!(seen.next_look(), EVERY);
        assert!(!seen.take(Some("bc")) && !seen.take(Some("bc")));
    }

    #[test]
    fn an_instant_without_the_file_is_nothing_and_a_lasting_one_is_told_once() {
        let mut seen = Seen::new("a");
        assert!(!seen.take(None) && !seen.take(Some("a")) && !seen.take(None));
        assert!(seen.take(None));
        assert!(!seen.take(None) && !seen.take(None));
        assert!(!seen.take(Some("a")) && seen.take(Some("a")), "it is back");
    }

    #[test]
    fn what_a_signal_took_over_is_not_new_to_the_next_look() {
        let mut seen = Seen::new("a");
        assert!(!seen.take(Some("b")));
        seen.acted_on(Some("b"));
        assert!(!seen.take(Some("b")) && !seen.take(Some("b")));
    }
}
