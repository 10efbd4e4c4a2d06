//! Published vectors, one case per check, and messages changed at random.

use super::*;
use proptest::prelude::*;
use sha1::Sha1;
use sha2::Sha256;

struct Sha1Scram;

impl Algorithm for Sha1Scram {
    type Hash = Sha1;
    type Mac = Hmac<Sha1>;
}

struct Sha256Scram;

impl Algorithm for Sha256Scram {
    type Hash = Sha256;
    type Mac = Hmac<Sha256>;
}

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

// Made with Python's hashlib, which shares no code with ours, from the names and salts of RFC 7677:
//   salted = hashlib.pbkdf2_hmac("sha512", b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
//   mac = lambda key, text: hmac.new(key, text, "sha512").digest()
//   auth = f"n=user,r={client_nonce},{server_first},c=biws,r={nonce}".encode()
//   client_key = mac(salted, b"Client Key"); signature = mac(hashlib.sha512(client_key).digest(), auth)
//   proof = bytes(a ^ b for a, b in zip(client_key, signature)); v = mac(mac(salted, b"Server Key"), auth)
const SALTED_512: &str = "f16efe1be67f1d09502ebd5ed9262fddffba5a377ab4f0b687e5ed5ba0f50686\
                          b8a4ae166476da8ab3b951d2fa9238b63998f45461bc33a464814949cec9631d";
const CLIENT_FINAL_512: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
     p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==";
const SERVER_FINAL_512: &str =
    "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==";

fn begun() -> ClientFirst {
    ClientFirst::new("user", NONCE).unwrap().0
}

fn challenged(message: &str) -> ScramError {
    begun().challenge(message.as_bytes()).unwrap_err()
}

/// Client's final message and expected signature of user `user` with password `pencil`.
fn exchange<A: Algorithm>(nonce: &str, server_first: &str, bytes: usize) -> (String, String) {
    let (first, _) = ClientFirst::new("user", nonce).unwrap();
    let challenge = first.challenge(server_first.as_bytes()).unwrap();
    let mut salted = vec![0; bytes];
    hi::<A>(b"pencil", challenge.salt(), challenge.iterations(), &mut salted);
    let (message, signature) = challenge.prove::<A>(&salted);
    (message, STANDARD.encode(&*signature))
}

#[test]
fn the_exchange_of_rfc_5802_comes_out_as_printed() {
    let nonce = "fyko+d2lbbFgONRv9qkxdawL";
    let server_first = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
    assert_eq!(ClientFirst::new("user", nonce).unwrap().1, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    let (message, signature) = exchange::<Sha1Scram>(nonce, server_first, 20);
    let printed = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
    assert_eq!((message.as_str(), signature.as_str()), (printed, "rmF9pqV8S7suAoZWja4dJRkFsKQ="));
}

#[test]
fn the_exchange_of_rfc_7677_comes_out_as_printed() {
    let (message, signature) = exchange::<Sha256Scram>(NONCE, SERVER_FIRST, 32);
    let printed = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                   p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(message, printed);
    assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn the_exchange_with_sha_512_comes_out_as_another_implementation_says() {
    let (last, message) = begun().server_first(SERVER_FIRST.as_bytes(), b"pencil").unwrap();
    assert_eq!(message, CLIENT_FINAL_512);
    assert_eq!(last.verify(SERVER_FINAL_512.as_bytes()), Ok(()));
}

#[test]
fn a_kept_salted_password_gives_the_same_answer() {
    let challenge = begun().challenge(SERVER_FIRST.as_bytes()).unwrap();
    let salted = salted_password(b"pencil", challenge.salt(), challenge.iterations()).unwrap();
    let hex: String = salted
        .0
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|n| char::from_digit(n.into(), 16).unwrap())
        .collect();
    assert_eq!(hex, SALTED_512);
    assert_eq!(challenge.answer(&salted.clone()).1, CLIENT_FINAL_512);
}

#[test]
fn names_are_escaped() {
    assert_eq!(ClientFirst::new("a=b,c", "x").unwrap().1, "n,,n=a=3Db=2Cc,r=x");
    assert_eq!(ClientFirst::new("nul\0", "x").unwrap_err(), ScramError::Username);
    assert_eq!(ClientFirst::new("", "x").unwrap_err(), ScramError::Username);
}

#[test]
fn names_and_passwords_are_used_as_they_are_because_kafka_does() {
    assert_eq!(ClientFirst::new("I\u{ad}X\u{aa}", "x").unwrap().1, "n,,n=I\u{ad}X\u{aa},r=x");
    let plain = salted_password(b"IX", b"salt", 1).unwrap();
    assert_ne!(salted_password("I\u{ad}X".as_bytes(), b"salt", 1).unwrap().0, plain.0);
    assert_eq!(salted_password(b"\xff", b"salt", 1).unwrap_err(), ScramError::Password);
    assert_eq!(salted_password(b"", b"salt", 1).unwrap_err(), ScramError::Password);
}

#[test]
fn an_unusable_nonce_of_our_own_is_refused() {
    for nonce in ["", "a,b", "a b", "ä"] {
        assert_eq!(ClientFirst::new("user", nonce).unwrap_err(), ScramError::ClientNonce, "{nonce:?}");
    }
}

#[test]
fn every_check_of_the_first_message_has_an_error_of_its_own() {
    let r = format!("r={NONCE}x");
    for (message, error) in [
        (format!("m=ext,{r},s=QSXC,i=4096"), ScramError::MandatoryExtension),
        (format!("{r},s=QSXC,i=4096,m=ext"), ScramError::MandatoryExtension),
        ("e=unknown-user".to_owned(), ScramError::Server("unknown-user".to_owned())),
        (format!("{r},{r},s=QSXC,i=4096"), ScramError::Duplicate('r')),
        (format!("{r},s=QSXC,i=4096,i=5000"), ScramError::Duplicate('i')),
        (format!("s=QSXC,{r},i=4096"), ScramError::OutOfOrder { expected: 'r', found: 's' }),
        (format!("{r},i=4096,s=QSXC"), ScramError::OutOfOrder { expected: 's', found: 'i' }),
        (format!("{r},s=QSXC,x=1,i=4096"), ScramError::OutOfOrder { expected: 'i', found: 'x' }),
        (format!("{r},s=QSXC"), ScramError::Missing('i')),
        (format!("{r},i=4096"), ScramError::Missing('s')),
        (String::new(), ScramError::NotAnAttribute(0)),
        (format!("{r},s=QSXC,4096"), ScramError::NotAnAttribute(2)),
        (format!("{r},salt=QSXC,i=4096"), ScramError::NotAnAttribute(1)),
        (format!("r={NONCE},s=QSXC,i=4096"), ScramError::NonceNotOurs),
        ("r=somebody-elses-nonce-that-is-longer,s=QSXC,i=4096".to_owned(), ScramError::NonceNotOurs),
        (format!("{r}\u{7f},s=QSXC,i=4096"), ScramError::NonceCharacters),
        (format!("{r},s=QSX,i=4096"), ScramError::SaltEncoding),
        (format!("{r},s=,i=4096"), ScramError::SaltEmpty),
        (format!("{r},s=QSXC,i="), ScramError::IterationsFormat),
        (format!("{r},s=QSXC,i=+4096"), ScramError::IterationsFormat),
        (format!("{r},s=QSXC,i=04096"), ScramError::IterationsFormat),
        (format!("{r},s=QSXC,i=4095"), ScramError::TooFewIterations(4095)),
        (format!("{r},s=QSXC,i=1000001"), ScramError::TooManyIterations(1_000_001)),
        (format!("{r},s=QSXC,i=99999999999"), ScramError::TooManyIterations(u32::MAX)),
    ] {
        assert_eq!(challenged(&message), error, "{message}");
    }
    assert_eq!(begun().challenge(b"r=\xff").unwrap_err(), ScramError::NotText);
}

#[test]
fn the_bounds_of_the_iteration_count_belong_to_it() {
    for count in [ITERATIONS_MIN, ITERATIONS_MAX] {
        let challenge = begun().challenge(format!("r={NONCE}x,s=QSXC,i={count}").as_bytes()).unwrap();
        assert_eq!(challenge.iterations(), count);
    }
}

#[test]
fn optional_extensions_behind_the_known_attributes_are_left_alone() {
    let challenge = begun().challenge(format!("r={NONCE}x,s=QSXC,i=4096,x=anything").as_bytes()).unwrap();
    assert_eq!(challenge.salt(), [0x41, 0x25, 0xc2]);
}

#[test]
fn every_check_of_the_last_message_has_an_error_of_its_own() {
    let changed = SERVER_FINAL_512.replace("ZQn", "ZQo");
    let shorter = "v=ZQnY";
    for (message, error) in [
        ("e=invalid-proof", ScramError::Server("invalid-proof".to_owned())),
        ("x=1", ScramError::Missing('v')),
        ("", ScramError::NotAnAttribute(0)),
        ("x=1,v=ZQnY", ScramError::OutOfOrder { expected: 'v', found: 'x' }),
        ("v=ZQnY,v=ZQnY", ScramError::Duplicate('v')),
        ("v=*", ScramError::SignatureEncoding),
        ("v=", ScramError::SignatureMismatch),
        (shorter, ScramError::SignatureMismatch),
        (changed.as_str(), ScramError::SignatureMismatch),
    ] {
        let (last, _) = begun().server_first(SERVER_FIRST.as_bytes(), b"pencil").unwrap();
        assert_eq!(last.verify(message.as_bytes()), Err(error), "{message}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let salted = salted_password(b"pencil", b"salt", 1).unwrap();
    assert_eq!(format!("{salted:?}"), "***");
    let (last, _) = begun().challenge(SERVER_FIRST.as_bytes()).unwrap().answer(&salted);
    assert_eq!(format!("{last:?}"), "ServerFinal { .. }");
}

proptest! {
    #[test]
    fn no_message_makes_it_panic(message in ".{0,80}") {
        let _ = begun().challenge(message.as_bytes());
        let _ = ServerFinal { signature: Zeroizing::new(vec![1; 64]) }.verify(message.as_bytes());
    }

    #[test]
    fn a_changed_signature_is_never_taken(index in 0_usize..64, mask in 1_u8..) {
        let signature = vec![7_u8; 64];
        let mut changed = signature.clone();
        changed[index] ^= mask;
        let message = format!("v={}", STANDARD.encode(changed));
        let verified = ServerFinal { signature: Zeroizing::new(signature) }.verify(message.as_bytes());
        prop_assert_eq!(verified, Err(ScramError::SignatureMismatch));
    }
}
