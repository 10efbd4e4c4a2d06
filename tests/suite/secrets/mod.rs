//! Where secrets come from and where they never go: the certificate under load, the key server, canaries.

mod canary;
pub(crate) mod certificate;
pub(crate) mod ckms;
