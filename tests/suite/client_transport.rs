//! Resolver, TLS, SASL, connections against the broker double.
