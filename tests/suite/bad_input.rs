//! One clear line for every mistake of the outside world.
