//! Secrets: unprintable, wiped on drop, fetched by name.
