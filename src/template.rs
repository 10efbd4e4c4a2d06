//! Templates in action definitions.
