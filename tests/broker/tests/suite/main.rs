//! The double as a client sees it over TCP. One module per area; [`raw`] is the client.

mod doubles;
mod faults;
mod fetching;
mod grouping;
mod logging_in;
mod raw;
