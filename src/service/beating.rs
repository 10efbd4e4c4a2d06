//! The poll loop's mark: whoever polls the source proves that he goes round.

use crate::container::Pulse;
use crate::pipeline::{Feed, Source, SourceError};

/// A source that beats whenever it is polled anew. The pipeline polls at least once per commit interval.
pub(super) struct Beating<S> {
    pub(super) source: S,
    pub(super) pulse: Pulse,
}

impl<S: Source> Source for Beating<S> {
    type Right = S::Right;
    type Batch = S::Batch;
    type Guard = S::Guard;
    type Control = S::Control;

    async fn next(&mut self) -> Result<Feed<S::Batch, S::Guard>, SourceError> {
        self.pulse.beat();
        self.source.next().await
    }

    fn control(&self) -> S::Control {
        self.source.control()
    }
}
