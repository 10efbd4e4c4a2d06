//! SASL PLAIN and SCRAM-SHA-512 over a fresh connection.
