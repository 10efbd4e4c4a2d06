//! The consumer: events out, commits in.
