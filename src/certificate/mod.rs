//! The service's certificate and its key: what it says, whether the key fits, and a watch over the files that hold both.
//!
//! | file | what |
//! |---|---|
//! | `read` | what a certificate says: whose it is, for which names, from when to when |
//! | `pair` | a certificate and its key that belong together and can be used now |
//! | `watched` | what to make of each look at the files: a decision without a clock and without files |
//! | `watch` | the looks themselves, and the pair for whoever shows it |
//!
//! Trust in others is not decided here: that is the TLS library's work.

mod pair;
mod read;
mod watch;
mod watched;

pub use pair::{Pair, PairError, PairFiles};
pub use read::Certificate;
pub use watch::{CertificateWatch, Shown, WatchSettings, Watching};
