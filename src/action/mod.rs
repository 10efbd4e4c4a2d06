//! Actions: what can be done about an incident.
