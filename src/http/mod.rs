//! The listener on :4080.
