//! From a match to the steps to take.
