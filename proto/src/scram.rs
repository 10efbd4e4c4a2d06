//! SCRAM-SHA-512, the client's half (RFC 5802, RFC 7677).
