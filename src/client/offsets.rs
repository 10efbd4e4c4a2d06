//! Committed offsets: fetch, commit, reset.
