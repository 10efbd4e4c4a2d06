//! `SaslHandshake` v1 (KIP-43, KIP-152): names the mechanism; what follows travels in `SaslAuthenticate`.

use kafka_proto::error_code::ErrorCode;
use kafka_protocol::messages::SaslHandshakeRequest;

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange, text};

/// Chooses a SASL mechanism. Version 0 would send raw, unframed tokens next, so it is not spoken.
#[derive(Debug)]
pub(crate) struct SaslHandshake {
    pub(crate) mechanism: &'static str,
}

/// Whether the mechanism is enabled, and which are.
#[derive(Debug, Clone)]
pub(crate) struct SaslHandshakeAnswer {
    pub(crate) error: ErrorCode,
    pub(crate) mechanisms: Vec<String>,
}

impl Exchange for SaslHandshake {
    const KEY: ApiKey = ApiKey::new(17, "SaslHandshake");
    const VERSIONS: VersionRange = VersionRange::new(1, 1);
    const FIRST_FLEXIBLE: i16 = i16::MAX;
    type Body = SaslHandshakeRequest;
    type Response = SaslHandshakeAnswer;

    fn body(&self, _version: i16) -> Self::Body {
        SaslHandshakeRequest::default().with_mechanism(text(self.mechanism))
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        let error = ErrorCode::from(answer.i16()?);
        Ok(SaslHandshakeAnswer { error, mechanisms: answer.array(Reader::string)? })
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::SaslHandshakeResponse;

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<SaslHandshake, _>(
            |_| SaslHandshakeResponse::default().with_error_code(33).with_mechanisms(vec![text("PLAIN")]),
            |_, answer| assert_eq!((answer.error, answer.mechanisms), (ErrorCode::from(33), vec!["PLAIN".to_owned()])),
        );
    }
}
