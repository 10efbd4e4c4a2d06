//! `SaslAuthenticate` (KIP-152, KIP-368): carries one SASL token each way.

use std::time::Duration;

use bytes::Bytes;
use kafka_proto::error_code::ErrorCode;
use kafka_protocol::messages::SaslAuthenticateRequest;

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange};

/// One token of the client.
pub(crate) struct SaslAuthenticate {
    pub(crate) token: Bytes,
}

/// One token of the broker.
#[derive(Clone)]
pub(crate) struct SaslAuthenticateAnswer {
    pub(crate) error: ErrorCode,
    pub(crate) message: Option<String>,
    pub(crate) token: Bytes,
    /// How long the broker accepts requests on this connection (KIP-368); `None`: for ever.
    pub(crate) session_lifetime: Option<Duration>,
}

impl std::fmt::Debug for SaslAuthenticateAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is left out: with it the salted password could be attacked.
        f.debug_struct("SaslAuthenticateAnswer")
            .field("error", &self.error)
            .field("message", &self.message)
            .field("session_lifetime", &self.session_lifetime)
            .finish_non_exhaustive()
    }
}

impl Exchange for SaslAuthenticate {
    const KEY: ApiKey = ApiKey::new(36, "SaslAuthenticate");
    const VERSIONS: VersionRange = VersionRange::new(0, 2);
    const FIRST_FLEXIBLE: i16 = 2;
    type Body = SaslAuthenticateRequest;
    type Response = SaslAuthenticateAnswer;

    fn body(&self, _version: i16) -> Self::Body {
        SaslAuthenticateRequest::default().with_auth_bytes(self.token.clone())
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        let error = ErrorCode::from(answer.i16()?);
        let message = answer.nullable_string()?;
        let token = answer.bytes()?;
        let lifetime_ms = if answer.version() >= 1 { answer.i64()? } else { 0 };
        answer.tags()?;
        let session_lifetime = u64::try_from(lifetime_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        Ok(SaslAuthenticateAnswer { error, message, token, session_lifetime })
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::SaslAuthenticateResponse;

    use super::*;
    use crate::client::request::{golden, text};

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<SaslAuthenticate, _>(
            |version| {
                let answer = SaslAuthenticateResponse::default()
                    .with_error_message(Some(text("no")))
                    .with_auth_bytes(Bytes::from_static(b"v=abc"));
                if version >= 1 { answer.with_session_lifetime_ms(3_592_000) } else { answer }
            },
            |version, answer| {
                assert_eq!(answer.token, "v=abc");
                assert_eq!(answer.message.as_deref(), Some("no"));
                assert_eq!(answer.session_lifetime, (version >= 1).then_some(Duration::from_secs(3_592)));
            },
        );
    }

    #[test]
    fn tokens_are_never_printed() {
        let answer = SaslAuthenticateAnswer {
            error: ErrorCode::from(0),
            message: None,
            token: Bytes::from_static(b"r=secret"),
            session_lifetime: None,
        };
        assert!(!format!("{answer:?}").contains("secret"));
    }
}
