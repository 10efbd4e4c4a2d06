//! The one file that touches rskafka: its `Messenger` frames requests, counts correlation ids and matches answers.
//!
//! Used of it: framing, correlation, pipelining. Not used: its schemas, its version discovery, its SASL. What it lacks
//! stands beside it: deadlines in `connection`, the watch over frames in `guard` (it only logs an answer that it cannot
//! assign, and reads an oversized one to the end).

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::protocol::Encodable;
use rskafka::messenger::{Messenger, RequestError as MessengerError};
use rskafka::protocol::api_key::ApiKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::messages::{
    ReadVersionedError, ReadVersionedType, RequestBody, WriteVersionedError, WriteVersionedType,
};
use rskafka::protocol::primitives::Int16;
use rskafka::protocol::traits::WriteError;

use crate::client::connection::guard::{Fate, Guarded, Stream};
use crate::client::connection::wire::{Answered, WireError};
use crate::client::request::{Exchange, VersionRange};

/// The Messenger over a guarded stream.
pub(super) struct Messages(Messenger<Guarded>);

impl Messages {
    pub(super) fn new(stream: Stream, response_bytes_max: usize, client_id: Arc<str>, fate: Arc<Fate>) -> Self {
        Self(Messenger::new(Guarded::new(stream, response_bytes_max, fate), response_bytes_max, client_id))
    }

    /// Tells which versions the broker speaks.
    pub(super) fn set_ranges(&mut self, ranges: &BTreeMap<i16, VersionRange>) {
        let range = |(code, range): (&i16, &VersionRange)| (api_key(*code), api_range(*range));
        self.0.override_version_ranges(ranges.iter().map(range).collect::<HashMap<_, _>>());
    }

    /// One request in the newest common version, and its answer. May be dropped at any point: a request that is being
    /// written is written to its end, its answer is read and dropped.
    pub(super) async fn exchange<R: Exchange>(&self, request: &R) -> Result<Answered, WireError> {
        let answered = self.0.request(Asked(request)).await;
        answered.map(|raw| raw.0).map_err(|error| match error {
            MessengerError::NoVersionMatch { .. } => WireError::NoVersion,
            MessengerError::WriteError(error) => WireError::Encode(error.to_string()),
            broken => WireError::Broken(broken.to_string()),
        })
    }
}

/// rskafka names only some keys; the number is all that is ever used.
const fn api_key(code: i16) -> ApiKey {
    ApiKey::Unknown(Int16(code))
}

const fn api_range(range: VersionRange) -> ApiVersionRange {
    ApiVersionRange::new(ApiVersion(Int16(range.min)), ApiVersion(Int16(range.max)))
}

/// An [`Exchange`] as the Messenger wants it.
struct Asked<'a, R>(&'a R);

impl<R: Exchange> RequestBody for Asked<'_, R> {
    type ResponseBody = Raw<R>;
    const API_KEY: ApiKey = api_key(R::KEY.code);
    const API_VERSION_RANGE: ApiVersionRange = api_range(R::VERSIONS);
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = ApiVersion(Int16(R::FIRST_FLEXIBLE));
    // Never: `connection` reads the header's tagged fields with its own, bounded reader.
    const FIRST_TAGGED_FIELD_IN_RESPONSE_VERSION: ApiVersion = ApiVersion(Int16(i16::MAX));
}

impl<R: Exchange> WriteVersionedType<Vec<u8>> for Asked<'_, R> {
    fn write_versioned(&self, writer: &mut Vec<u8>, version: ApiVersion) -> Result<(), WriteVersionedError> {
        let body = self.0.body(version.0.0);
        body.encode(writer, version.0.0).map_err(|error| WriteError::Malformed(error.into()).into())
    }
}

/// The whole response, taken out of the Messenger without a copy.
struct Raw<R>(Answered, PhantomData<fn() -> R>);

impl<R> ReadVersionedType<Cursor<Vec<u8>>> for Raw<R> {
    fn read_versioned(reader: &mut Cursor<Vec<u8>>, version: ApiVersion) -> Result<Self, ReadVersionedError> {
        let body_starts_at = usize::try_from(reader.position()).unwrap_or(usize::MAX);
        let whole = Bytes::from(std::mem::take(reader.get_mut()));
        reader.set_position(0); // the length of what is left: otherwise the Messenger reports left-over bytes
        let bytes = whole.slice(body_starts_at.min(whole.len())..);
        Ok(Self(Answered { version: version.0.0, bytes }, PhantomData))
    }
}
