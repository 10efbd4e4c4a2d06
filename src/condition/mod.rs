//! Conditions: compiled once, first match wins, with evidence.
