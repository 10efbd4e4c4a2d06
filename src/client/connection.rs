//! One socket to one broker: framing, pipelining, deadlines.
