//! An uncompressed batch, and its records one by one.
//!
//! Everything lent borrows from the batch. A batch that holds fewer or more records than it claims says so with both
//! numbers; it is never cut short silently. Record attributes have no meaning in format 2 and are not looked at.

use bytes::Bytes;
use thiserror::Error;

use crate::id::Offset;
use crate::reader::{ReadError, Reader};
use crate::record::header::{BatchHeader, TimestampType};

/// Records that are not what the batch promised. The CRC was right: whoever produced the batch wrote it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A record's bytes make no sense.
    #[error("record {index} of the batch is malformed: {cause}")]
    Malformed {
        /// Which record of the batch, from 0.
        index: i32,
        /// What is wrong with its bytes.
        cause: ReadError,
    },
    /// The bytes end before the last record.
    #[error("the batch claims {claimed} records and holds {held}")]
    Fewer {
        /// What the header says.
        claimed: i32,
        /// How many complete records there are.
        held: i32,
    },
    /// Bytes are left behind the last record.
    #[error("the batch claims {claimed} records and holds more: {bytes} bytes are left")]
    More {
        /// What the header says.
        claimed: i32,
        /// How many bytes are left.
        bytes: usize,
    },
    /// An offset that is not after the one before it, or not inside the batch.
    #[error("record {index} of the batch has offset delta {delta}, out of order or outside of the batch")]
    OffsetDelta {
        /// Which record of the batch, from 0.
        index: i32,
        /// Its offset less the base offset.
        delta: i32,
    },
}

/// What a control batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The transaction of the batch's producer was given up.
    Abort,
    /// The transaction of the batch's producer is complete.
    Commit,
    /// A note that is none of a consumer's business (leader change, snapshot, voters, or newer ones).
    Other(i16),
}

impl ControlType {
    /// Reads the key of a control record: version, type. Every version so far has both in front.
    fn from_key(key: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(key);
        let _version = reader.i16().ok()?;
        Some(match reader.i16().ok()? {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        })
    }

    /// The number on the wire.
    pub const fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::Other(id) => id,
        }
    }
}

/// A batch whose records can be read.
#[derive(Clone, Debug)]
pub struct Batch {
    header: BatchHeader,
    records: Bytes,
}

impl Batch {
    pub(super) const fn new(header: BatchHeader, records: Bytes) -> Self {
        Self { header, records }
    }

    /// What the batch says about itself.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The data records. A control batch has none; its note is [`control`](Self::control).
    pub fn records(&self) -> Records<'_> {
        if self.header.is_control() { Records::new(&self.header, 0, &[]) } else { self.all_records() }
    }

    fn all_records(&self) -> Records<'_> {
        Records::new(&self.header, self.header.record_count, &self.records)
    }

    /// What a control batch is for. `None` for a data batch, and for a control batch that compaction emptied or whose
    /// key makes no sense: all that is left to do with those is to step over them.
    pub fn control(&self) -> Option<ControlType> {
        if !self.header.is_control() {
            return None;
        }
        ControlType::from_key(self.all_records().next()?.ok()?.key?)
    }

    /// Reads every record and header once and says whether all make sense, for whom a late error would be too late.
    pub fn verify(&self) -> Result<(), RecordError> {
        for (index, record) in (0..).zip(self.records()) {
            for header in record?.headers() {
                header.map_err(|cause| RecordError::Malformed { index, cause })?;
            }
        }
        Ok(())
    }

    /// Bytes of the uncompressed records.
    pub fn size(&self) -> usize {
        self.records.len()
    }
}

/// The records of a batch, in offset order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    reader: Reader<'a>,
    index: i32,
    count: i32,
    delta_min: i32,
    delta_max: i32,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
}

impl<'a> Records<'a> {
    fn new(header: &BatchHeader, count: i32, bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
            index: 0,
            count,
            delta_min: 0,
            delta_max: header.last_offset_delta,
            base_offset: header.base_offset.get(),
            base_timestamp: header.base_timestamp,
            append_time: match header.timestamp_type() {
                TimestampType::CreateTime => None,
                TimestampType::LogAppendTime => Some(header.max_timestamp),
            },
        }
    }

    #[inline]
    fn decode(&mut self) -> Result<Record<'a>, RecordError> {
        if self.reader.is_empty() {
            return Err(RecordError::Fewer { claimed: self.count, held: self.index });
        }
        let index = self.index;
        let body = self.reader.slice().map_err(|cause| RecordError::Malformed { index, cause })?;
        let (delta, record) = self.fields(body).map_err(|cause| RecordError::Malformed { index, cause })?;
        if delta < self.delta_min || delta > self.delta_max {
            return Err(RecordError::OffsetDelta { index, delta });
        }
        self.delta_min = delta.saturating_add(1);
        Ok(record)
    }

    #[inline]
    fn fields(&self, body: &'a [u8]) -> Result<(i32, Record<'a>), ReadError> {
        let mut reader = Reader::new(body);
        let _attributes = reader.u8()?;
        let timestamp_delta = reader.varlong()?;
        let delta = reader.varint()?;
        let key = reader.nullable_slice()?;
        let value = reader.nullable_slice()?;
        let header_count = u32::try_from(reader.varint()?).map_err(|_| ReadError::Length)?;
        if header_count == 0 {
            reader.finish()?;
        }
        let timestamp_ms = self.append_time.unwrap_or_else(|| self.base_timestamp.saturating_add(timestamp_delta));
        let offset = Offset(self.base_offset.saturating_add(i64::from(delta)));
        Ok((delta, Record { offset, timestamp_ms, key, value, header_count, headers: reader.rest() }))
    }

    fn stop(&mut self) {
        self.reader = Reader::new(&[]);
        self.index = self.count;
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            let bytes = self.reader.rest().len();
            self.stop();
            return (bytes > 0).then_some(Err(RecordError::More { claimed: self.count, bytes }));
        }
        let decoded = self.decode();
        match decoded {
            Ok(_) => self.index = self.index.saturating_add(1),
            Err(_) => self.stop(),
        }
        Some(decoded)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A record takes at least seven bytes; the claimed count alone could be anything.
        let possible = self.reader.rest().len() / 7;
        let left = usize::try_from(self.count.saturating_sub(self.index)).unwrap_or(0);
        (0, Some(possible.min(left).saturating_add(1)))
    }
}

impl std::iter::FusedIterator for Records<'_> {}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it stands in its partition.
    pub offset: Offset,
    /// Milliseconds since 1970, by the producer's clock or the broker's as the batch says; -1 where none was given.
    pub timestamp_ms: i64,
    /// The key, if there is one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    header_count: u32,
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    /// The headers, read only when asked for.
    pub const fn headers(&self) -> Headers<'a> {
        Headers { reader: Reader::new(self.headers), left: self.header_count }
    }
}

/// The headers of a record in their order, names that occur twice included. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    reader: Reader<'a>,
    left: u32,
}

/// A record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name: UTF-8 if the producer kept to the rules, which no broker checks.
    pub key: &'a [u8],
    /// The value, if there is one.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// The name as text, if it is.
    pub const fn key_str(&self) -> Option<&'a str> {
        match str::from_utf8(self.key) {
            Ok(key) => Some(key),
            Err(_) => None,
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut read = || {
            let header = Header { key: self.reader.slice()?, value: self.reader.nullable_slice()? };
            if self.left == 0 {
                self.reader.finish()?;
            }
            Ok(header)
        };
        let header = read();
        if header.is_err() {
            self.left = 0;
        }
        Some(header)
    }
}

impl std::iter::FusedIterator for Headers<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::Decompressor;
    use crate::record::{Batches, EncodeOptions, NewRecord, encode_batch};

    const RECORD: NewRecord<'static> =
        NewRecord { timestamp_ms: 7, key: Some(b"key"), value: Some(b"value"), headers: &[], offset_delta: None };

    fn batch(records: &[NewRecord<'_>]) -> Batch {
        let mut bytes = Vec::new();
        encode_batch(&EncodeOptions::default(), records.iter().copied(), &mut bytes).unwrap();
        Batches::new(bytes.into()).next().unwrap().unwrap().open(&mut Decompressor::new(0)).unwrap()
    }

    /// A batch with these record bytes and this header, as a producer with a fault might write it.
    fn forged(change: impl FnOnce(&mut BatchHeader, &mut Vec<u8>)) -> Batch {
        let mut batch = batch(&[RECORD; 3]);
        let mut bytes = batch.records.to_vec();
        change(&mut batch.header, &mut bytes);
        Batch { records: bytes.into(), ..batch }
    }

    fn errors(batch: &Batch) -> (usize, Option<RecordError>) {
        let all: Vec<_> = batch.records().collect();
        let good = all.iter().filter(|record| record.is_ok()).count();
        assert!(all.len() <= good + 1, "an error has to be the last item");
        assert!(batch.records().size_hint().1.unwrap() >= all.len());
        (good, all.into_iter().find_map(Result::err))
    }

    #[test]
    fn a_batch_with_fewer_records_than_it_claims_says_so_with_both_numbers() {
        let batch = forged(|header, _| header.record_count = 4);
        assert_eq!(errors(&batch), (3, Some(RecordError::Fewer { claimed: 4, held: 3 })));
        assert_eq!(batch.verify(), Err(RecordError::Fewer { claimed: 4, held: 3 }));
    }

    #[test]
    fn a_batch_with_more_records_than_it_claims_says_so() {
        let batch = forged(|header, _| header.record_count = 2);
        assert_eq!(errors(&batch), (2, Some(RecordError::More { claimed: 2, bytes: batch.size() / 3 })));
    }

    #[test]
    fn a_huge_record_count_costs_nothing() {
        let batch = forged(|header, _| header.record_count = i32::MAX);
        assert!(batch.records().size_hint().1.unwrap() < 10);
        assert_eq!(errors(&batch), (3, Some(RecordError::Fewer { claimed: i32::MAX, held: 3 })));
    }

    #[test]
    fn offsets_have_to_rise_and_to_lie_inside_of_the_batch() {
        // Length, attributes, timestamp delta, offset delta: the fourth byte of a record.
        let record_bytes = batch(&[RECORD]).size();
        let repeated = forged(|_, bytes| bytes[record_bytes + 3] = 0);
        assert_eq!(errors(&repeated), (1, Some(RecordError::OffsetDelta { index: 1, delta: 0 })));
        let negative = forged(|_, bytes| bytes[3] = 1);
        assert_eq!(errors(&negative), (0, Some(RecordError::OffsetDelta { index: 0, delta: -1 })));
        let outside = forged(|_, bytes| bytes[2 * record_bytes + 3] = 6);
        assert_eq!(errors(&outside), (2, Some(RecordError::OffsetDelta { index: 2, delta: 3 })));
    }

    #[test]
    fn malformed_records_name_their_index() {
        let too_long = forged(|_, bytes| bytes[0] += 2);
        let malformed = |index, cause| Some(RecordError::Malformed { index, cause });
        assert_eq!(errors(&too_long), (0, malformed(0, ReadError::Trailing)));
        let key_too_long = forged(|_, bytes| bytes[4] = 0x7e);
        assert_eq!(errors(&key_too_long), (0, malformed(0, ReadError::Short)));
        let negative_key = forged(|_, bytes| bytes[4] = 3);
        assert_eq!(errors(&negative_key), (0, malformed(0, ReadError::Length)));
        let cut = forged(|_, bytes| bytes.truncate(bytes.len() - 1));
        assert_eq!(errors(&cut), (2, malformed(2, ReadError::Short)));
        let negative_headers = forged(|_, bytes| *bytes.last_mut().unwrap() = 1);
        assert_eq!(errors(&negative_headers), (2, malformed(2, ReadError::Length)));
    }

    #[test]
    fn headers_keep_their_order_their_doubles_and_their_nulls() {
        let headers: &[(&[u8], Option<&[u8]>)] =
            &[(b"b", Some(b"1")), (b"a", None), (b"b", Some(b"")), (b"\xff\xfe", Some(b"2"))];
        let batch = batch(&[NewRecord { headers, ..RECORD }]);
        let record = batch.records().next().unwrap().unwrap();
        let read: Vec<_> = record.headers().map(Result::unwrap).collect();
        assert_eq!(read.iter().map(|header| (header.key, header.value)).collect::<Vec<_>>(), headers);
        assert_eq!((read[0].key_str(), read[3].key_str()), (Some("b"), None));
    }

    #[test]
    fn malformed_headers_are_found_when_asked_for_and_by_verify() {
        let headers: &[(&[u8], Option<&[u8]>)] = &[(b"name", Some(b"value"))];
        let mut bad = batch(&[NewRecord { headers, ..RECORD }]);
        let mut bytes = bad.records.to_vec();
        let name_length = bytes.len() - "name".len() - 1 - "value".len() - 1;
        bytes[name_length] = 0x7e;
        bad.records = bytes.into();
        let record = bad.records().next().unwrap().unwrap();
        assert_eq!(record.headers().collect::<Vec<_>>(), [Err(ReadError::Short)]);
        assert_eq!(bad.verify(), Err(RecordError::Malformed { index: 0, cause: ReadError::Short }));
    }

    #[test]
    fn a_control_batch_has_no_records_and_an_unreadable_one_no_meaning() {
        let control = |key: &'static [u8]| {
            let mut batch = batch(&[NewRecord { key: Some(key), ..RECORD }]);
            batch.header.attributes |= 0b11_0000;
            batch
        };
        assert_eq!(control(&[0, 0, 0, 0]).control(), Some(ControlType::Abort));
        assert_eq!(control(&[0, 0, 0, 1]).control(), Some(ControlType::Commit));
        assert_eq!(control(&[0, 9, 0, 1]).control(), Some(ControlType::Commit), "any version");
        assert_eq!(control(&[0, 0, 0, 5]).control(), Some(ControlType::Other(5)));
        assert_eq!(control(&[0, 0, 0]).control(), None);
        assert_eq!(control(&[0, 0, 0, 1]).records().count(), 0);
        let mut emptied = control(&[0, 0, 0, 1]);
        (emptied.records, emptied.header.record_count) = (Bytes::new(), 0);
        assert_eq!(emptied.control(), None);
        assert_eq!(batch(&[RECORD]).control(), None);
    }

    #[test]
    fn timestamps_at_the_ends_of_the_number_range_do_not_wrap() {
        let batch = forged(|header, _| header.base_timestamp = i64::MAX);
        assert!(batch.records().all(|record| record.unwrap().timestamp_ms == i64::MAX));
    }
}
