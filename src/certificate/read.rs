//! What a certificate says.

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name; empty where there is none.
    pub common_name: String,
    /// The issuer's common name.
    pub issuer: String,
    /// The host names it is for.
    pub names: Vec<String>,
    /// Valid from, in seconds since 1970.
    pub not_before: i64,
    /// Valid until, in seconds since 1970.
    pub not_after: i64,
}

impl Certificate {
    /// Reads DER.
    pub fn parse(der: &[u8]) -> Result<Self, String> {
        let (_, found) = X509Certificate::from_der(der).map_err(|error| format!("not a certificate: {error}"))?;
        let name = |name: &x509_parser::x509::X509Name<'_>| {
            let common = name.iter_common_name().next().and_then(|part| part.as_str().ok());
            common.unwrap_or_default().to_owned()
        };
        let alternative = found.subject_alternative_name().ok().flatten();
        let general = alternative.iter().flat_map(|extension| &extension.value.general_names);
        let names = general.filter_map(|name| match name {
            GeneralName::DNSName(host) => Some((*host).to_owned()),
            GeneralName::IPAddress([a, b, c, d]) => Some(format!("{a}.{b}.{c}.{d}")),
            _ => None,
        });
        Ok(Self {
            common_name: name(found.subject()),
            issuer: name(found.issuer()),
            names: names.collect(),
            not_before: found.validity().not_before.timestamp(),
            not_after: found.validity().not_after.timestamp(),
        })
    }

    /// Seconds left at a time, below zero when it is over.
    pub fn seconds_left(&self, now_s: i64) -> i64 {
        self.not_after.saturating_sub(now_s)
    }

    /// Its end as people and other programs write it, RFC 3339 in UTC.
    pub fn ends_at(&self) -> String {
        jiff::Timestamp::from_second(self.not_after).map_or_else(|_| self.not_after.to_string(), |at| at.to_string())
    }
}
