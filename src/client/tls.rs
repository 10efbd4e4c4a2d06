//! TLS configuration: graviola, web roots and private ones.
