//! BigPanda incidents, parsed once, borrowed from the record.
