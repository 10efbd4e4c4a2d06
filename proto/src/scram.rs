//! The client's side of SCRAM-SHA-512 (RFC 5802, RFC 7677) as three steps that consume each other.
//!
//! [`ClientFirst`] becomes a [`Challenge`] by the server's first message, that becomes a [`ServerFinal`] by the salted
//! password, and that is verified by the server's last message; nothing else can be done, and nothing twice. Nonce and
//! password are arguments. Every check of the RFC has an error of its own. Promised: keys are zeroed when dropped, the
//! server's signature is compared in constant time. Absent: channel binding, authorization names, SASL's framing.
//!
//! Names and passwords are used as they are, in UTF-8, as Kafka's brokers and clients do. RFC 5802 asks for `SASLprep`;
//! a client that followed it here could not log in with a password that `SASLprep` changes (a no-break space, a
//! ligature), because the broker derived its keys from the text as it was given.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod attributes;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use attributes::Attributes;

/// Fewer iterations would make a stolen exchange too cheap to guess from (RFC 7677 part 4).
pub const ITERATIONS_MIN: u32 = 4096;
/// More would let a server keep us busy for as long as it likes.
pub const ITERATIONS_MAX: u32 = 1_000_000;

/// "No channel binding, no authorization name", as it opens the exchange.
const GS2_HEADER: &str = "n,,";

/// Why an exchange was given up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScramError {
    /// The user name is empty or holds a null byte.
    #[error("the user name is empty or holds a null byte")]
    Username,
    /// The password is empty or not UTF-8.
    #[error("the password is empty or not UTF-8")]
    Password,
    /// Our own nonce is empty or holds other than printable ASCII without comma.
    #[error("the client's nonce is empty or holds characters that are not allowed")]
    ClientNonce,
    /// The message is not UTF-8 text.
    #[error("the server's message is not text")]
    NotText,
    /// A part of the message is not a letter, an equals sign and a value.
    #[error("part {0} of the server's message is not an attribute")]
    NotAnAttribute(usize),
    /// The server demands an extension (`m=`), which the RFC reserves.
    #[error("the server demands an extension (m=) that does not exist")]
    MandatoryExtension,
    /// An attribute stands twice.
    #[error("the server's message has the attribute {0} twice")]
    Duplicate(char),
    /// An attribute stands where another one has to.
    #[error("the server's message has the attribute {found} where {expected} belongs")]
    OutOfOrder {
        /// What has to stand here.
        expected: char,
        /// What does.
        found: char,
    },
    /// The message ends before an attribute that it must have.
    #[error("the server's message lacks the attribute {0}")]
    Missing(char),
    /// The server reports an error (`e=`): `invalid-proof`, `unknown-user`, ….
    #[error("the server refuses: {0}")]
    Server(String),
    /// The server's nonce does not begin with ours, or adds nothing to it.
    #[error("the server's nonce does not extend ours")]
    NonceNotOurs,
    /// The server's nonce holds other than printable ASCII.
    #[error("the server's nonce holds characters that are not allowed")]
    NonceCharacters,
    /// The salt is not base64.
    #[error("the salt is not base64")]
    SaltEncoding,
    /// The salt is empty.
    #[error("the salt is empty")]
    SaltEmpty,
    /// The iteration count is not a positive number.
    #[error("the iteration count is not a number")]
    IterationsFormat,
    /// The iteration count is too small to protect the password.
    #[error("{0} iterations are fewer than {ITERATIONS_MIN}")]
    TooFewIterations(u32),
    /// The iteration count is too large to be meant well.
    #[error("{0} iterations are more than {ITERATIONS_MAX}")]
    TooManyIterations(u32),
    /// The server's signature is not base64.
    #[error("the server's signature is not base64")]
    SignatureEncoding,
    /// The server does not know the password: it is not the one we wanted to talk to.
    #[error("the server's signature is wrong: it does not know the password")]
    SignatureMismatch,
}

/// Our first message has been made; the server's first one is to come.
pub struct ClientFirst {
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// Begins an exchange for `user` with a fresh, unguessable `nonce` of printable ASCII. Returns the client's first
    /// message besides.
    pub fn new(user: &str, nonce: &str) -> Result<(Self, String), ScramError> {
        if user.is_empty() || user.contains('\0') {
            return Err(ScramError::Username);
        }
        if nonce.is_empty() || !printable(nonce) {
            return Err(ScramError::ClientNonce);
        }
        // In this order: the escapes themselves hold an equals sign.
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={user},r={nonce}");
        let message = format!("{GS2_HEADER}{bare}");
        Ok((Self { bare, nonce: nonce.to_owned() }, message))
    }

    /// Takes the server's first message and answers it. Slow by the iteration count, up to a second: not for a thread
    /// that has to stay responsive. Returns the client's final message besides.
    pub fn server_first(self, message: &[u8], password: &[u8]) -> Result<(ServerFinal, String), ScramError> {
        let challenge = self.challenge(message)?;
        let salted = salted_password(password, challenge.salt(), challenge.iterations())?;
        Ok(challenge.answer(&salted))
    }

    /// Takes the server's first message; for callers that keep salted passwords.
    pub fn challenge(self, message: &[u8]) -> Result<Challenge, ScramError> {
        let text = str::from_utf8(message).map_err(|_| ScramError::NotText)?;
        let mut attributes = Attributes::read(text)?;
        let nonce = attributes.expect('r')?;
        if !printable(nonce) {
            return Err(ScramError::NonceCharacters);
        }
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(ScramError::NonceNotOurs);
        }
        let salt = STANDARD.decode(attributes.expect('s')?).map_err(|_| ScramError::SaltEncoding)?;
        if salt.is_empty() {
            return Err(ScramError::SaltEmpty);
        }
        let iterations = iterations(attributes.expect('i')?)?;
        // The server's nonce contains ours and stands here once, whole.
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(GS2_HEADER));
        let signed = format!("{},{text},{without_proof}", self.bare);
        Ok(Challenge { salt, iterations, without_proof, signed })
    }
}

impl fmt::Debug for ClientFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFirst").finish_non_exhaustive()
    }
}

/// The server has told salt and iteration count; the salted password is to come.
pub struct Challenge {
    salt: Vec<u8>,
    iterations: u32,
    without_proof: String,
    signed: String,
}

impl Challenge {
    /// The salt of this user's password. Changes when the password does.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The iteration count, between [`ITERATIONS_MIN`] and [`ITERATIONS_MAX`].
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Proves that we know the password. Returns the client's final message besides.
    pub fn answer(self, salted: &SaltedPassword) -> (ServerFinal, String) {
        let (message, signature) = self.prove::<Sha512Scram>(&salted.0);
        (ServerFinal { signature }, message)
    }

    /// The client's final message, and the signature that the server must answer with.
    fn prove<A: Algorithm>(&self, salted: &[u8]) -> (String, Zeroizing<Vec<u8>>) {
        let client_key = mac::<A>(salted, b"Client Key");
        let stored_key = Zeroizing::new(A::Hash::digest(&*client_key).to_vec());
        let client_signature = mac::<A>(&stored_key, self.signed.as_bytes());
        let mut proof = client_key;
        for (byte, mask) in proof.iter_mut().zip(client_signature.iter()) {
            *byte ^= mask;
        }
        let message = format!("{},p={}", self.without_proof, STANDARD.encode(&*proof));
        let server_key = mac::<A>(salted, b"Server Key");
        (message, mac::<A>(&server_key, self.signed.as_bytes()))
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// Our proof has been made; the server's signature is to come.
pub struct ServerFinal {
    signature: Zeroizing<Vec<u8>>,
}

impl ServerFinal {
    /// Checks that the server knows the password too. Only then is the connection authenticated.
    pub fn verify(self, message: &[u8]) -> Result<(), ScramError> {
        let text = str::from_utf8(message).map_err(|_| ScramError::NotText)?;
        let given = Attributes::read(text)?.expect('v')?;
        let given = STANDARD.decode(given).map_err(|_| ScramError::SignatureEncoding)?;
        if bool::from(given.ct_eq(&self.signature)) { Ok(()) } else { Err(ScramError::SignatureMismatch) }
    }
}

impl fmt::Debug for ServerFinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerFinal").finish_non_exhaustive()
    }
}

/// What all the iterations lead to: as good as the password for this salt, so it is zeroed and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SaltedPassword([u8; 64]);

impl fmt::Debug for SaltedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Salts a password for SHA-512: the slow part, to be kept per password, salt and iteration count.
pub fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Result<SaltedPassword, ScramError> {
    if password.is_empty() || str::from_utf8(password).is_err() {
        return Err(ScramError::Password);
    }
    let mut salted = SaltedPassword([0; 64]);
    hi::<Sha512Scram>(password, salt, iterations, &mut salted.0);
    Ok(salted)
}

/// A hash and its HMAC. Private: SHA-512 is what is offered; the tests prove the same code on the hashes for which
/// vectors were published.
trait Algorithm {
    type Hash: Digest;
    type Mac: Mac + KeyInit + Clone;
}

struct Sha512Scram;

impl Algorithm for Sha512Scram {
    type Hash = Sha512;
    type Mac = Hmac<Sha512>;
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed<A: Algorithm>(key: &[u8]) -> A::Mac {
    <A::Mac as KeyInit>::new_from_slice(key).expect("a key of any length")
}

fn mac<A: Algorithm>(key: &[u8], text: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(keyed::<A>(key).chain_update(text).finalize().into_bytes().to_vec())
}

/// `Hi` of RFC 5802: PBKDF2 with one block of output, as long as `out` and the hash.
fn hi<A: Algorithm>(password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) {
    let keyed = keyed::<A>(password);
    let mut block = keyed.clone().chain_update(salt).chain_update(1_u32.to_be_bytes()).finalize().into_bytes();
    out.copy_from_slice(&block);
    for _ in 1..iterations {
        block = keyed.clone().chain_update(&block).finalize().into_bytes();
        for (sum, byte) in out.iter_mut().zip(&block) {
            *sum ^= byte;
        }
    }
    block.as_mut_slice().zeroize();
}

fn printable(nonce: &str) -> bool {
    nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

fn iterations(text: &str) -> Result<u32, ScramError> {
    if text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ScramError::IterationsFormat);
    }
    match text.parse() {
        Ok(few @ ..ITERATIONS_MIN) => Err(ScramError::TooFewIterations(few)),
        Ok(many) if many > ITERATIONS_MAX => Err(ScramError::TooManyIterations(many)),
        Ok(iterations) => Ok(iterations),
        Err(_) if text.is_empty() => Err(ScramError::IterationsFormat),
        Err(_) => Err(ScramError::TooManyIterations(u32::MAX)),
    }
}

#[cfg(test)]
mod tests;
