//! Numbers with a meaning: offsets, epochs, broker ids, generations; and the name of a partition.
