//! The server side of SCRAM-SHA-512 (RFC 5802), written apart from the client's so that they can disagree.
//!
//! Promised: channel binding flag, nonce and proof are checked; a reserved extension (`m=`) is refused. The salt of a user
//! is derived from the name, so that a client may cache its salted password. `SASLprep` is absent: passwords are bytes.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha512};

type Key = [u8; 64];

/// The server's first message was sent; the client's final one is awaited.
#[derive(Debug)]
pub(super) struct ServerFirst {
    user: String,
    gs2_header: String,
    nonce: String,
    /// `client-first-message-bare,server-first-message,`.
    auth_message: String,
    stored_key: Key,
    server_key: Key,
}

impl ServerFirst {
    /// Reads the client's first message and answers with nonce, salt and iterations.
    pub(super) fn answer(
        users: &BTreeMap<String, String>,
        iterations: u32,
        message: &[u8],
    ) -> Result<(Self, String), String> {
        let text = std::str::from_utf8(message).map_err(|_| "not UTF-8".to_owned())?;
        let (gs2_header, bare) = split_header(text)?;
        let mut attributes = bare.split(',');
        let user = attributes.next().and_then(|part| part.strip_prefix("n=")).ok_or("no user name")?;
        let user = unescape(user)?;
        let client_nonce = attributes.next().and_then(|part| part.strip_prefix("r=")).ok_or("no nonce")?;
        if client_nonce.is_empty() {
            return Err("an empty nonce".to_owned());
        }
        let password = users.get(&user).ok_or_else(|| format!("no user {user}"))?;
        let salt = &hash(format!("salt of {user}").as_bytes())[..16];
        let nonce = format!("{client_nonce}{}", fresh_nonce());
        let server_first = format!("r={nonce},s={},i={iterations}", STANDARD.encode(salt));
        let salted = salted_password(password.as_bytes(), salt, iterations);
        let first = Self {
            auth_message: format!("{bare},{server_first},"),
            stored_key: hash(&keyed(&salted, b"Client Key")),
            server_key: keyed(&salted, b"Server Key"),
            user,
            gs2_header: gs2_header.to_owned(),
            nonce,
        };
        Ok((first, server_first))
    }

    /// Checks the client's proof. Returns the user and the server's signature.
    pub(super) fn finish(self, message: &[u8]) -> Result<(String, String), String> {
        let text = std::str::from_utf8(message).map_err(|_| "not UTF-8".to_owned())?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or("no proof")?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|part| part.strip_prefix("c=")).ok_or("no channel binding")?;
        if STANDARD.decode(binding).ok().as_deref() != Some(self.gs2_header.as_bytes()) {
            return Err("another channel binding than at first".to_owned());
        }
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r=")).ok_or("no nonce")?;
        if nonce != self.nonce {
            return Err("another nonce".to_owned());
        }
        let proof: Key =
            STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or("a proof of another length")?;
        let auth_message = format!("{}{without_proof}", self.auth_message);
        let mut client_key = keyed(&self.stored_key, auth_message.as_bytes());
        client_key.iter_mut().zip(proof).for_each(|(byte, proof)| *byte ^= proof);
        if hash(&client_key) != self.stored_key {
            return Err(format!("wrong password for {}", self.user));
        }
        let signature = keyed(&self.server_key, auth_message.as_bytes());
        Ok((self.user, format!("v={}", STANDARD.encode(signature))))
    }
}

/// The GS2 header, up to and with its second comma, and the rest.
fn split_header(text: &str) -> Result<(&str, &str), String> {
    let (flag, rest) = text.split_once(',').ok_or("no header")?;
    if flag != "n" && flag != "y" {
        return Err("channel binding is not offered here".to_owned());
    }
    let (_authorisation, bare) = rest.split_once(',').ok_or("half a header")?;
    if bare.starts_with("m=") {
        return Err("a mandatory extension".to_owned());
    }
    Ok((&text[..text.len() - bare.len()], bare))
}

fn unescape(name: &str) -> Result<String, String> {
    let plain = name.replace("=2C", ",").replace("=3D", "\0");
    if plain.contains('=') { Err("a name with a bare equals sign".to_owned()) } else { Ok(plain.replace('\0', "=")) }
}

fn fresh_nonce() -> String {
    let mut bytes = [0; 18];
    getrandom::fill(&mut bytes).expect("randomness");
    STANDARD.encode(bytes)
}

fn hash(bytes: &[u8]) -> Key {
    Sha512::digest(bytes).into()
}

fn keyed(key: &[u8], message: &[u8]) -> Key {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// PBKDF2 with one block, which is what RFC 5802 calls Hi.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let start = Hmac::<Sha512>::new_from_slice(password).expect("a key of any length");
    let turn = |message: &[u8]| -> Key {
        let mut mac = start.clone();
        mac.update(message);
        mac.finalize().into_bytes().into()
    };
    let mut last = turn(&[salt, &1_u32.to_be_bytes()].concat());
    let mut all = last;
    for _ in 1..iterations {
        last = turn(&last);
        all.iter_mut().zip(last).for_each(|(byte, turned)| *byte ^= turned);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> BTreeMap<String, String> {
        BTreeMap::from([("user".to_owned(), "pencil".to_owned())])
    }

    /// A client's final message, computed here from the definition.
    fn final_message(server_first: &str, client_first_bare: &str, password: &str) -> String {
        let mut parts = server_first.split(',').map(|part| &part[2..]);
        let (nonce, salt, iterations) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let salted = salted_password(password.as_bytes(), &STANDARD.decode(salt).unwrap(), iterations.parse().unwrap());
        let client_key = keyed(&salted, b"Client Key");
        let without_proof = format!("c=biws,r={nonce}");
        let auth_message = format!("{client_first_bare},{server_first},{without_proof}");
        let mut proof = keyed(&hash(&client_key), auth_message.as_bytes());
        proof.iter_mut().zip(client_key).for_each(|(byte, key)| *byte ^= key);
        format!("{without_proof},p={}", STANDARD.encode(proof))
    }

    #[test]
    fn the_right_password_is_proven_and_a_wrong_one_is_not() {
        let first = || ServerFirst::answer(&users(), 4096, b"n,,n=user,r=abc").expect("an answer");
        let (server, challenge) = first();
        assert!(challenge.starts_with("r=abc"));
        let (user, signature) = server.finish(final_message(&challenge, "n=user,r=abc", "pencil").as_bytes()).unwrap();
        assert_eq!(user, "user");
        assert!(signature.starts_with("v="));
        let (server, challenge) = first();
        assert!(server.finish(final_message(&challenge, "n=user,r=abc", "pen").as_bytes()).is_err());
    }

    #[test]
    fn pbkdf2_agrees_with_a_published_vector() {
        // PBKDF2-HMAC-SHA-512 of "password" and "salt": the vector that goes with RFC 6070's for SHA-1.
        let two = salted_password(b"password", b"salt", 2);
        assert_eq!(two[..8], [0xe1, 0xd9, 0xc1, 0x6a, 0xa6, 0x81, 0x70, 0x8a]);
    }

    #[test]
    fn headers_and_names_are_checked() {
        let answer = |message: &str| ServerFirst::answer(&users(), 4096, message.as_bytes()).map(|_| ());
        assert!(answer("p=tls-unique,,n=user,r=abc").is_err());
        assert!(answer("n,,m=x,n=user,r=abc").is_err());
        assert!(answer("n,,n=nobody,r=abc").is_err());
        assert_eq!(unescape("a=2Cb=3Dc"), Ok("a,b=c".to_owned()));
        assert!(unescape("a=b").is_err());
    }
}
