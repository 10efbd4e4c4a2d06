//! Escalations: they call people. None of them is a remedy, so none lets the flow resolve an incident.

pub(crate) mod ops;
pub(crate) mod rootly;
