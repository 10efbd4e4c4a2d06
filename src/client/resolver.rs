//! Names to IPv4 addresses; AAAA answers are dropped.
