//! A bounds-safe reader over an answer's bytes.
//!
//! Every length is checked against what is left before anything is allocated for it. Blobs are slices of the
//! response, never copies. Strings, blobs and arrays switch to their compact forms (KIP-482) by themselves.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_proto::id::BrokerId;

use crate::client::request::{Endpoint, TopicId};

/// An answer whose bytes do not follow the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The answer ends inside a field.
    #[error("the answer ends inside a field")]
    Truncated,
    /// A length is negative where that means nothing, or not even a length.
    #[error("a length field holds {0}")]
    Length(i64),
    /// An array claims more elements than there are bytes left.
    #[error("an array claims {claimed} elements and {left} bytes are left")]
    Array {
        /// What the length prefix says.
        claimed: usize,
        /// Bytes left in the answer.
        left: usize,
    },
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    Text,
    /// Null where the protocol has no null.
    #[error("null in a field that cannot be null")]
    Null,
    /// A port, version or count out of its range.
    #[error("a number out of range: {0}")]
    Range(i64),
    /// Bytes after the last field.
    #[error("{0} bytes left over at the end of the answer")]
    Trailing(usize),
}

/// The unread rest of one answer.
#[derive(Debug)]
pub(crate) struct Reader {
    rest: Bytes,
    version: i16,
    flexible: bool,
    throttle: Duration,
}

impl Reader {
    /// Reads a body in `version`; `flexible` says whether that version is (KIP-482).
    pub(crate) fn new(body: Bytes, version: i16, flexible: bool) -> Self {
        Self { rest: body, version, flexible, throttle: Duration::ZERO }
    }

    /// The version the answer is written in.
    pub(crate) fn version(&self) -> i16 {
        self.version
    }

    /// Reads from here on in the inflexible form: for an answer that falls back to version 0 (KIP-511).
    pub(crate) fn fall_back_to_version_0(&mut self) {
        self.version = 0;
        self.flexible = false;
    }

    /// What [`Reader::read_throttle`] found, or zero.
    pub(crate) fn throttle(&self) -> Duration {
        self.throttle
    }

    /// Reads `throttle_time_ms` and remembers it for the connection (KIP-219).
    pub(crate) fn read_throttle(&mut self) -> Result<(), Malformed> {
        let ms = self.i32()?;
        self.throttle = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        Ok(())
    }

    /// Errs unless everything was read.
    pub(crate) fn finish(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing(self.rest.len())) }
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.i8()? != 0)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, Malformed> {
        self.rest.try_get_i8().map_err(|_| Malformed::Truncated)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Malformed> {
        self.rest.try_get_i16().map_err(|_| Malformed::Truncated)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.rest.try_get_i32().map_err(|_| Malformed::Truncated)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.rest.try_get_i64().map_err(|_| Malformed::Truncated)
    }

    pub(crate) fn topic_id(&mut self) -> Result<TopicId, Malformed> {
        let mut id = [0; 16];
        self.rest.try_copy_to_slice(&mut id).map_err(|_| Malformed::Truncated)?;
        Ok(TopicId(id))
    }

    /// At most five bytes, and no bits beyond the 32nd.
    fn unsigned_varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.rest.try_get_u8().map_err(|_| Malformed::Truncated)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| Malformed::Length(i64::try_from(value).unwrap_or(i64::MAX)));
            }
        }
        Err(Malformed::Length(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    /// A length field; `None` is null. `wide` lengths have four bytes in the inflexible form, others two.
    fn length(&mut self, wide: bool) -> Result<Option<usize>, Malformed> {
        let length = if self.flexible {
            i64::from(self.unsigned_varint()?) - 1
        } else if wide {
            i64::from(self.i32()?)
        } else {
            i64::from(self.i16()?)
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Malformed::Length(length)),
        }
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.rest.len() { Err(Malformed::Truncated) } else { Ok(self.rest.split_to(length)) }
    }

    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<Bytes>, Malformed> {
        let length = self.length(true)?;
        length.map(|length| self.slice(length)).transpose()
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        self.nullable_bytes()?.ok_or(Malformed::Null)
    }

    fn nullable_str(&mut self) -> Result<Option<Bytes>, Malformed> {
        let length = self.length(false)?;
        length.map(|length| self.slice(length)).transpose()
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<String>, Malformed> {
        let Some(bytes) = self.nullable_str()? else { return Ok(None) };
        std::str::from_utf8(&bytes).map(|text| Some(text.to_owned())).map_err(|_| Malformed::Text)
    }

    pub(crate) fn string(&mut self) -> Result<String, Malformed> {
        self.nullable_string()?.ok_or(Malformed::Null)
    }

    /// A string that will be shared: a topic or host name.
    pub(crate) fn name(&mut self) -> Result<Arc<str>, Malformed> {
        self.nullable_name()?.ok_or(Malformed::Null)
    }

    pub(crate) fn nullable_name(&mut self) -> Result<Option<Arc<str>>, Malformed> {
        let Some(bytes) = self.nullable_str()? else { return Ok(None) };
        std::str::from_utf8(&bytes).map(|text| Some(Arc::from(text))).map_err(|_| Malformed::Text)
    }

    /// An array; null counts as empty, as every Kafka client reads it. No element is shorter than one byte, so a claim
    /// beyond the bytes left is refused before anything is allocated, and memory grows only with elements really read.
    pub(crate) fn array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let Some(claimed) = self.length(true)? else { return Ok(Vec::new()) };
        if claimed > self.rest.len() {
            return Err(Malformed::Array { claimed, left: self.rest.len() });
        }
        let mut elements = Vec::with_capacity(claimed.min(ELEMENTS_RESERVED_MAX));
        for _ in 0..claimed {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// Skips the tagged fields at the end of a flexible structure.
    pub(crate) fn tags(&mut self) -> Result<(), Malformed> {
        self.tags_with(|_, _| Ok(()))
    }

    /// Reads the tagged fields; `field` gets each tag with a reader over exactly its bytes.
    pub(crate) fn tags_with(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()?;
            let size = usize::try_from(size).map_err(|_| Malformed::Length(i64::from(size)))?;
            let mut value = Self::new(self.slice(size)?, self.version, true);
            field(tag, &mut value)?;
        }
        Ok(())
    }

    /// Host and port, in that order, of broker `id`; no rack.
    pub(crate) fn endpoint(&mut self, id: BrokerId) -> Result<Endpoint, Malformed> {
        let host = self.name()?;
        let port = self.i32()?;
        // Absent coordinators are sent as port -1; a port beyond 16 bits is nonsense whoever sends it.
        let port = if port < 0 { 0 } else { u16::try_from(port).map_err(|_| Malformed::Range(i64::from(port)))? };
        Ok(Endpoint { id, host, port, rack: None })
    }
}

/// Elements for which room is made before the first is read; more grow as they come.
const ELEMENTS_RESERVED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8], flexible: bool) -> Reader {
        Reader::new(Bytes::copy_from_slice(bytes), 0, flexible)
    }

    #[test]
    fn an_absurd_array_length_is_an_error_and_not_memory() {
        let refused = reader(&[0x7f, 0xff, 0xff, 0xff, 1, 2], false).array(Reader::i8);
        assert_eq!(refused, Err(Malformed::Array { claimed: 0x7fff_ffff, left: 2 }));
        let refused = reader(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1], true).array(Reader::i8);
        assert_eq!(refused, Err(Malformed::Array { claimed: 0xffff_fffe, left: 1 }));
    }

    #[test]
    fn a_varint_longer_than_32_bits_is_refused() {
        assert!(matches!(reader(&[0xff; 6], true).bytes(), Err(Malformed::Length(_))));
        assert!(matches!(reader(&[0xff, 0xff, 0xff, 0xff, 0x7f], true).bytes(), Err(Malformed::Length(_))));
    }

    #[test]
    fn negative_lengths_other_than_null_are_refused() {
        assert_eq!(reader(&[0xff, 0xfe], false).string(), Err(Malformed::Length(-2)));
        assert_eq!(reader(&[0xff, 0xff], false).nullable_string(), Ok(None));
        assert_eq!(reader(&[0xff, 0xff], false).string(), Err(Malformed::Null));
    }

    #[test]
    fn blobs_are_slices_of_the_response() {
        let whole = Bytes::from_static(b"\0\0\0\x03abcd");
        let mut reader = Reader::new(whole.clone(), 0, false);
        let blob = reader.bytes().unwrap();
        assert_eq!(blob.as_ptr(), whole.slice(4..).as_ptr());
        assert_eq!(reader.finish(), Err(Malformed::Trailing(1)));
    }

    #[test]
    fn unknown_tagged_fields_are_skipped_and_bounded() {
        let mut fields = reader(&[1, 9, 2, 0xaa, 0xbb], true);
        fields.tags().unwrap();
        assert_eq!(fields.finish(), Ok(()));
        assert_eq!(reader(&[1, 9, 200, 1, 0xaa], true).tags(), Err(Malformed::Truncated));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        assert_eq!(reader(&[0, 1, 0xff], false).string(), Err(Malformed::Text));
    }
}
