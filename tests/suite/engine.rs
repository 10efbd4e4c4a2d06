//! Ledger, actions and pipeline.
