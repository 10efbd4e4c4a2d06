//! SCRAM-SHA-512 as a SASL mechanism: the checks are `kafka_proto`'s, the steps are the trait's.

use std::sync::{Arc, Mutex, PoisonError};

use kafka_proto::scram::{ClientFirst, SaltedPassword, ScramError, ServerFinal, salted_password};
use sasl::client::{Mechanism, MechanismError};
use sasl::common::{Credentials, Identity, Password, Secret as SaslSecret};

use crate::client::config::Secret;

/// One exchange with one broker.
pub(super) struct ScramSha512 {
    step: Step,
    password: Secret,
    salted: Arc<SaltedPasswords>,
    failure: Option<String>,
}

/// Where the exchange stands; each message moves it on once.
enum Step {
    First(ClientFirst, String),
    AwaitingChallenge(ClientFirst),
    AwaitingVerdict(ServerFinal),
    Over,
}

impl ScramSha512 {
    /// Begins an exchange with a fresh nonce.
    pub(super) fn new(username: &str, password: Secret, salted: Arc<SaltedPasswords>) -> Result<Self, String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| format!("no randomness: {error}"))?;
        let nonce = u128::from_be_bytes(random);
        let nonce = format!("{nonce:032x}");
        let (first, message) = ClientFirst::new(username, &nonce).map_err(|error| error.to_string())?;
        Ok(Self { step: Step::First(first, message), password, salted, failure: None })
    }

    /// Which check failed; the trait's errors have no room for it.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    fn fail(&mut self, error: &ScramError) -> MechanismError {
        self.failure = Some(error.to_string());
        MechanismError::CannotDecodeChallenge
    }

    fn answer(&mut self, first: ClientFirst, challenge: &[u8]) -> Result<Vec<u8>, ScramError> {
        let challenge = first.challenge(challenge)?;
        let salted = self.salted.get(&self.password, challenge.salt(), challenge.iterations())?;
        let (server_final, message) = challenge.answer(&salted);
        self.step = Step::AwaitingVerdict(server_final);
        Ok(message.into_bytes())
    }
}

impl Mechanism for ScramSha512 {
    fn name(&self) -> &'static str {
        "SCRAM-SHA-512"
    }

    fn from_credentials(credentials: Credentials) -> Result<Self, MechanismError> {
        let Identity::Username(username) = credentials.identity else {
            return Err(MechanismError::ScramRequiresUsername);
        };
        let SaslSecret::Password(Password::Plain(password)) = credentials.secret else {
            return Err(MechanismError::ScramRequiresPassword);
        };
        Self::new(&username, Secret::new(password), Arc::default()).map_err(|_| MechanismError::CannotGenerateNonce)
    }

    fn initial(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::First(first, message) => {
                self.step = Step::AwaitingChallenge(first);
                message.into_bytes()
            }
            Step::AwaitingChallenge(_) | Step::AwaitingVerdict(_) | Step::Over => Vec::new(),
        }
    }

    /// Slow unless the salted password is known.
    fn response(&mut self, challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::AwaitingChallenge(first) => self.answer(first, challenge).map_err(|error| self.fail(&error)),
            Step::First(..) | Step::AwaitingVerdict(_) | Step::Over => Err(MechanismError::InvalidState),
        }
    }

    fn success(&mut self, data: &[u8]) -> Result<(), MechanismError> {
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::AwaitingVerdict(server_final) => server_final.verify(data).map_err(|error| self.fail(&error)),
            Step::First(..) | Step::AwaitingChallenge(_) | Step::Over => Err(MechanismError::InvalidState),
        }
    }
}

/// The last salted password: a cluster's brokers share salt and iterations, so reconnecting costs no key stretching.
#[derive(Default)]
pub(super) struct SaltedPasswords(Mutex<Option<Salted>>);

struct Salted {
    password: Secret,
    salt: Vec<u8>,
    iterations: u32,
    result: SaltedPassword,
}

impl SaltedPasswords {
    fn get(&self, password: &Secret, salt: &[u8], iterations: u32) -> Result<SaltedPassword, ScramError> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |known: &&Salted| known.password == *password && known.salt == salt && known.iterations == iterations;
        if let Some(known) = last.as_ref().filter(fits) {
            return Ok(known.result.clone());
        }
        let salted = salted_password(password.reveal().as_bytes(), salt, iterations)?;
        *last = Some(Salted { password: password.clone(), salt: salt.to_vec(), iterations, result: salted.clone() });
        Ok(salted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &[u8] = b"0123456789abcdef";

    fn mechanism() -> ScramSha512 {
        let credentials = Credentials::default().with_username("sre").with_password("secret");
        ScramSha512::from_credentials(credentials).unwrap()
    }

    #[test]
    fn messages_out_of_order_are_refused() {
        let mut mechanism = mechanism();
        assert_eq!(mechanism.response(b"x"), Err(MechanismError::InvalidState));
        assert!(mechanism.initial().is_empty(), "an exchange that went wrong does not begin again");
    }

    #[test]
    fn the_failed_check_is_named() {
        let mut mechanism = mechanism();
        assert!(mechanism.initial().starts_with(b"n,,n=sre,r="));
        assert!(mechanism.response(b"r=foreign,s=QUJD,i=4096").is_err());
        assert_eq!(mechanism.failure().unwrap(), "the server's nonce does not extend ours");
    }

    #[test]
    fn a_salted_password_is_kept_until_something_differs() {
        let kept = SaltedPasswords::default();
        let place = |kept: &SaltedPasswords| kept.0.lock().unwrap().as_ref().map(|known| known.salt.as_ptr());
        kept.get(&Secret::new("a"), SALT, 4096).unwrap();
        let first = place(&kept);
        kept.get(&Secret::new("a"), SALT, 4096).unwrap();
        assert_eq!(place(&kept), first, "nothing was computed anew");
        kept.get(&Secret::new("b"), SALT, 4096).unwrap();
        assert_eq!(kept.0.lock().unwrap().as_ref().unwrap().password, Secret::new("b"));
    }
}
