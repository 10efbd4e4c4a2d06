//! Groups, fetching and commits against the broker double.
