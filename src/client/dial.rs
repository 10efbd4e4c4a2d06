//! From a broker's name to a connected TCP stream.
