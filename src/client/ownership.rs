//! The right to act on a partition, under one assignment.
