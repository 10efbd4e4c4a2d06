//! Holds our answers against the schemas of another implementation, version by version. Tests only.

use std::fmt::Debug;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request};

use crate::client::request::{Exchange, Reader};

/// For every version that `E` speaks: encodes `answer(version)` with `kafka-protocol`, reads it with `E`, checks that
/// nothing is left over, hands it to `check`, reads every cut-off prefix (an error, never a panic), and encodes the
/// request's header version to see that flexible versions begin where `E` says.
pub(crate) fn every_version<E, A>(answer: impl Fn(i16) -> A, check: impl Fn(i16, E::Response))
where
    E: Exchange,
    E::Body: Request + Debug,
    A: Encodable + HeaderVersion,
{
    assert_eq!(E::KEY.code, <E::Body as Request>::KEY);
    for version in E::VERSIONS.min..=E::VERSIONS.max {
        let flexible = version >= E::FIRST_FLEXIBLE;
        assert_eq!(<E::Body as HeaderVersion>::header_version(version) == 2, flexible, "{} v{version}", E::KEY);
        let mut bytes = BytesMut::new();
        answer(version).encode(&mut bytes, version).unwrap_or_else(|e| panic!("{} v{version}: {e}", E::KEY));
        let bytes = bytes.freeze();
        let mut reader = Reader::new(bytes.clone(), version, flexible);
        let read = E::read(&mut reader).unwrap_or_else(|e| panic!("{} v{version}: {e} in {bytes:?}", E::KEY));
        assert_eq!(reader.finish(), Ok(()), "{} v{version}", E::KEY);
        assert!(reader.throttle() < Duration::from_hours(1));
        check(version, read);
        for cut in 0..bytes.len() {
            let mut reader = Reader::new(bytes.slice(..cut), version, flexible);
            assert!(E::read(&mut reader).is_err(), "{} v{version} cut at {cut}", E::KEY);
        }
    }
}

/// Encodes the request in every version that `E` speaks and gives back what the schema decodes from it.
pub(crate) fn requests<E>(request: &E) -> Vec<(i16, E::Body)>
where
    E: Exchange,
    E::Body: Decodable,
{
    (E::VERSIONS.min..=E::VERSIONS.max)
        .map(|version| {
            let mut bytes = BytesMut::new();
            let body = request.body(version);
            body.encode(&mut bytes, version).unwrap_or_else(|e| panic!("{} v{version}: {e}", E::KEY));
            let mut bytes: Bytes = bytes.freeze();
            let decoded = E::Body::decode(&mut bytes, version).unwrap_or_else(|e| panic!("{e}"));
            assert!(bytes.is_empty());
            (version, decoded)
        })
        .collect()
}
