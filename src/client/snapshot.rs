//! What an operator may ask at any time.
