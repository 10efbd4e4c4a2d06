//! SASL as the broker's side of a connection sees it: handshake, exchange, session lifetime, re-authentication (KIP-368).
//!
//! Promised, as in Kafka's `SaslServerAuthenticator` and `SocketServer`: before the login only ApiVersions and the handshake
//! are taken; a refused login is answered and the connection closed; after the lifetime the next request other than a
//! handshake closes the connection; a re-authentication begun within a second of the one before is `ILLEGAL_SASL_STATE`;
//! anything but SaslAuthenticate in the middle of an exchange is `ILLEGAL_SASL_STATE` and the end; the user may not change.
//! Absent: the raw tokens after a handshake of version 0, GSSAPI, OAUTHBEARER.

mod plain;
mod scram;

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};

use crate::state::Logins;
use crate::wire::{Request, Response};

/// Kafka lets a connection begin a re-authentication at most once in this time.
const BETWEEN_REAUTHENTICATIONS: Duration = Duration::from_secs(1);

/// A SASL mechanism the brokers may offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// RFC 5802 with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    fn start(self) -> Exchange {
        match self {
            Self::Plain => Exchange::Plain,
            Self::ScramSha512 => Exchange::ScramFirst,
        }
    }
}

/// How far an exchange has come.
#[derive(Debug)]
enum Exchange {
    Plain,
    ScramFirst,
    ScramFinal(Box<scram::ServerFirst>),
}

/// Who is logged in, and until when.
#[derive(Debug, Clone)]
struct Session {
    user: String,
    mechanism: Mechanism,
    began: Instant,
    lifetime: Option<Duration>,
    reauthenticated: Option<Instant>,
}

impl Session {
    fn is_over(&self, logins: &Logins, now: Instant) -> bool {
        let aged = self.lifetime.is_some_and(|lifetime| now.duration_since(self.began) >= lifetime);
        aged || logins.expired_before.is_some_and(|moment| self.began < moment)
    }
}

/// The login of one connection.
#[derive(Debug)]
pub(crate) struct Login(Stage);

#[derive(Debug)]
enum Stage {
    NotNeeded,
    /// Nothing but ApiVersions and the handshake.
    Expected,
    /// The handshake is done; `before` is the session that a re-authentication continues.
    Exchanging {
        mechanism: Mechanism,
        exchange: Exchange,
        before: Option<Session>,
    },
    LoggedIn(Session),
}

/// What to do with a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is for the API handlers.
    Process,
    Answer(Box<Response>),
    AnswerThenClose(Box<Response>),
    /// Answer with this error in the request's own terms, then close.
    Refuse(ResponseError),
    Close(&'static str),
}

impl Login {
    /// A connection that has just been made.
    pub(crate) fn new(required: bool) -> Self {
        Self(if required { Stage::Expected } else { Stage::NotNeeded })
    }

    /// Takes the request if it belongs to a login, and says what else may happen to it.
    pub(crate) fn judge(&mut self, logins: &Logins, request: &Request, version: i16, now: Instant) -> Verdict {
        match (std::mem::replace(&mut self.0, Stage::Expected), request) {
            (Stage::NotNeeded, _) => {
                self.0 = Stage::NotNeeded;
                Verdict::Process
            }
            (Stage::Expected, Request::ApiVersions(_)) => Verdict::Process,
            (Stage::Expected, Request::SaslHandshake(handshake)) => self.shake_hands(logins, handshake, None),
            (Stage::Expected, _) => Verdict::Close("a request before the login"),
            (Stage::Exchanging { mechanism, exchange, before }, Request::SaslAuthenticate(message)) => {
                self.go_on(logins, (mechanism, exchange, before), message, version, now)
            }
            (Stage::Exchanging { .. }, _) => Verdict::Refuse(ResponseError::IllegalSaslState),
            (Stage::LoggedIn(session), request) => self.after_login(logins, session, request, now),
        }
    }

    fn after_login(&mut self, logins: &Logins, mut session: Session, request: &Request, now: Instant) -> Verdict {
        if let Request::SaslHandshake(handshake) = request {
            let too_soon =
                session.reauthenticated.is_some_and(|last| now.duration_since(last) < BETWEEN_REAUTHENTICATIONS);
            if !too_soon {
                session.reauthenticated = Some(now);
                return self.shake_hands(logins, handshake, Some(session));
            }
        }
        if session.is_over(logins, now) {
            return Verdict::Close("the session lifetime is over");
        }
        self.0 = Stage::LoggedIn(session);
        Verdict::Process
    }

    fn shake_hands(&mut self, logins: &Logins, asked: &SaslHandshakeRequest, before: Option<Session>) -> Verdict {
        let offered = logins.mechanisms.iter().map(|mechanism| super::api::text(mechanism.name())).collect();
        let answer = SaslHandshakeResponse::default().with_mechanisms(offered);
        let chosen = logins.mechanisms.iter().find(|mechanism| mechanism.name() == asked.mechanism.as_str());
        match chosen {
            None => {
                let refused = answer.with_error_code(ResponseError::UnsupportedSaslMechanism.code());
                Verdict::AnswerThenClose(Box::new(refused.into()))
            }
            Some(mechanism) => {
                self.0 = Stage::Exchanging { mechanism: *mechanism, exchange: mechanism.start(), before };
                Verdict::Answer(Box::new(answer.into()))
            }
        }
    }

    fn go_on(
        &mut self,
        logins: &Logins,
        (mechanism, exchange, before): (Mechanism, Exchange, Option<Session>),
        message: &SaslAuthenticateRequest,
        version: i16,
        now: Instant,
    ) -> Verdict {
        match step(exchange, logins, &message.auth_bytes) {
            Err(cause) => refused(mechanism, &cause),
            Ok(Step::Continue(exchange, challenge)) => {
                self.0 = Stage::Exchanging { mechanism, exchange, before };
                Verdict::Answer(Box::new(SaslAuthenticateResponse::default().with_auth_bytes(challenge).into()))
            }
            Ok(Step::Done(user, last_word)) => {
                if let Some(before) = before.as_ref().filter(|b| b.user != user || b.mechanism != mechanism) {
                    return refused(
                        mechanism,
                        &format!(
                            "Cannot change principals during re-authentication from User.{} to User.{user}",
                            before.user
                        ),
                    );
                }
                let reauthenticated = before.and_then(|before| before.reauthenticated);
                self.0 = Stage::LoggedIn(Session {
                    user,
                    mechanism,
                    began: now,
                    lifetime: logins.lifetime,
                    reauthenticated,
                });
                let lifetime = logins.lifetime.map_or(0, |lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(0));
                let answer = SaslAuthenticateResponse::default().with_auth_bytes(last_word);
                let answer = if version >= 1 { answer.with_session_lifetime_ms(lifetime) } else { answer };
                Verdict::Answer(Box::new(answer.into()))
            }
        }
    }
}

enum Step {
    Continue(Exchange, Bytes),
    Done(String, Bytes),
}

fn step(exchange: Exchange, logins: &Logins, message: &[u8]) -> Result<Step, String> {
    match exchange {
        Exchange::Plain => plain::check(&logins.users, message).map(|user| Step::Done(user, Bytes::new())),
        Exchange::ScramFirst => {
            let (next, challenge) = scram::ServerFirst::answer(&logins.users, logins.scram_iterations, message)?;
            Ok(Step::Continue(Exchange::ScramFinal(Box::new(next)), challenge.into()))
        }
        Exchange::ScramFinal(first) => first.finish(message).map(|(user, last)| Step::Done(user, last.into())),
    }
}

/// Error 58; Kafka does not tell the client what exactly was wrong, the log of the double does.
fn refused(mechanism: Mechanism, cause: &str) -> Verdict {
    tracing::debug!(mechanism = mechanism.name(), cause, "login refused");
    let text = if cause.starts_with("Cannot change principals") {
        cause.to_owned()
    } else {
        let name = mechanism.name();
        format!("Authentication failed during authentication due to invalid credentials with SASL mechanism {name}")
    };
    let answer = SaslAuthenticateResponse::default()
        .with_error_code(ResponseError::SaslAuthenticationFailed.code())
        .with_error_message(Some(super::api::text(text)));
    Verdict::AnswerThenClose(Box::new(answer.into()))
}
