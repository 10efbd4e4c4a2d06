//! The listener on :4080: `/livez`, `/readyz`, `/status.html`, `/metrics`, `/api/v1/`.
//!
//! It shows what a [`Surface`] tells and knows nothing else. Promised: an answer never waits for the network or for the
//! work; every request is bounded in size, time and number and must name a host that is ours; nothing can be changed from
//! here but pause, resume and settle, with a token. HTTP/1.1 only, no TLS: it is bound to localhost unless configured otherwise.

mod api;
mod ask;
mod chart;
mod host;
mod limits;
mod page;
mod routes;
mod server;

pub use api::{Change, Question, Trouble, Wanted};
pub use ask::ask;
pub use chart::{Chart, Series};
pub use page::{Cell, Fact, Part, Row, Section, Status, Table, Tone};
pub use routes::{Readiness, Surface};
pub use server::{BindError, Server};
