//! Which batches a read_committed consumer must skip.
