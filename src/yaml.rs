//! A YAML tree that remembers where everything stood.
