//! Cuts the records field of a Fetch response into batches and proves each by its CRC.
//!
//! A batch that is not what it should be is one error with its offsets, so that the caller can fetch it again, park
//! the partition or step over it; the batches behind it are read as if nothing had been. A broker cuts its answer at a
//! byte count, so an incomplete last batch is the usual end and no error (KIP-74).

use bytes::Bytes;
use thiserror::Error;

use crate::compression::{Codec, CompressionError, Decompressor};
use crate::id::Offset;
use crate::reader::Reader;
use crate::record::batch::Batch;
use crate::record::header::{BatchHeader, CHECKED_FROM, CRC_AT, HEADER_BYTES, HeaderFault, MAGIC_AT, PREFIX_BYTES};

/// The smallest length of anything that ever stood in a log: an empty message of format 0.
const LENGTH_MIN: i32 = 14;
/// The batch format that is read here.
const MAGIC: u8 = 2;

/// A batch that cannot be used, and where it lies in the partition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the record batch at offset {first} cannot be used: {fault}")]
pub struct BatchError {
    /// The first offset of the batch as its header says. No CRC covers it.
    pub first: Offset,
    /// The last offset: the one before the next batch where one follows, else what the header says; `None` where
    /// neither can be known. For a bad CRC it is a claim, not a fact.
    pub last: Option<Offset>,
    /// What is wrong.
    pub fault: BatchFault,
}

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchFault {
    /// The length cannot be that of a batch. Nothing behind it can be found; the iterator ends.
    #[error("its length of {0} bytes is not possible")]
    Length(i32),
    /// Another message format. Of formats 0 and 1 the one offset they state is the last of a compressed set.
    #[error("it has message format {0}, not 2")]
    Magic(u8),
    /// The bytes are not those that the producer or the broker wrote.
    #[error("its CRC is {computed:08x}, its header says {stated:08x}")]
    Crc {
        /// What the header says.
        stated: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// The header contradicts itself.
    #[error(transparent)]
    Header(HeaderFault),
    /// A compression that Kafka 4.3 does not know.
    #[error("its compression {0} is not known")]
    Codec(u8),
    /// The compressed records are malformed, or larger than allowed.
    #[error(transparent)]
    Compression(CompressionError),
}

/// The batches in a Fetch response's records field, in order.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// Over the records field of one partition. The batches share its memory and keep it alive.
    pub fn new(records: Bytes) -> Self {
        Self { rest: records }
    }

    /// The bytes that no batch has come from yet. After the end: the size of the cut-off tail; if that is all there
    /// was, the batch is larger than the answer was allowed to be.
    pub fn bytes_left(&self) -> usize {
        self.rest.len()
    }

    fn take_frame(&mut self) -> Option<Result<Bytes, BatchError>> {
        let (first, length) = prefix(&self.rest)?;
        if length < LENGTH_MIN {
            self.rest = Bytes::new();
            return Some(Err(BatchError { first, last: None, fault: BatchFault::Length(length) }));
        }
        let size = usize::try_from(length).ok()?.checked_add(PREFIX_BYTES)?;
        (size <= self.rest.len()).then(|| Ok(self.rest.split_to(size)))
    }
}

impl Iterator for Batches {
    type Item = Result<RawBatch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = match self.take_frame()? {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error)),
        };
        Some(proven(&frame).map_err(|fault| BatchError {
            first: prefix(&frame).map_or(Offset(-1), |(first, _)| first),
            last: last_offset(&frame, &self.rest),
            fault,
        }))
    }
}

impl std::iter::FusedIterator for Batches {}

fn prefix(bytes: &[u8]) -> Option<(Offset, i32)> {
    let mut reader = Reader::new(bytes);
    Some((Offset(reader.i64().ok()?), reader.i32().ok()?))
}

fn proven(frame: &Bytes) -> Result<RawBatch, BatchFault> {
    match frame.get(MAGIC_AT) {
        Some(&MAGIC) => {}
        other => return Err(BatchFault::Magic(other.copied().unwrap_or_default())),
    }
    let incomplete = || BatchFault::Header(HeaderFault::Incomplete);
    let stated = frame.get(CRC_AT..).ok_or_else(incomplete)?;
    let stated = Reader::new(stated).u32().map_err(|_| incomplete())?;
    let computed = crc32c::crc32c(frame.get(CHECKED_FROM..).ok_or_else(incomplete)?);
    if stated != computed {
        return Err(BatchFault::Crc { stated, computed });
    }
    let header = BatchHeader::read(frame).map_err(BatchFault::Header)?;
    Ok(RawBatch { header, body: frame.slice(HEADER_BYTES..) })
}

/// The last offset of a batch that could not be proven. What follows it is the better witness: a flipped bit in the
/// delta would otherwise step over good batches, or not over the bad one.
fn last_offset(frame: &[u8], following: &[u8]) -> Option<Offset> {
    let (first, _) = prefix(frame)?;
    let before_next = prefix(following).map(|(next, _)| Offset(next.get().saturating_sub(1)));
    if let Some(last) = before_next.filter(|last| *last >= first) {
        return Some(last);
    }
    match frame.get(MAGIC_AT) {
        Some(0 | 1) => Some(first),
        Some(&MAGIC) => {
            let mut reader = Reader::new(frame.get(CHECKED_FROM..)?);
            reader.i16().ok()?;
            let delta = reader.i32().ok().filter(|delta| *delta >= 0)?;
            first.get().checked_add(i64::from(delta)).map(Offset)
        }
        _ => None,
    }
}

/// A batch with a good CRC, its records perhaps still compressed.
#[derive(Clone, Debug)]
pub struct RawBatch {
    /// What the batch says about itself.
    pub header: BatchHeader,
    body: Bytes,
}

impl RawBatch {
    /// Takes the compression off. Uncompressed records go on borrowing from the response.
    pub fn open(self, decompressor: &mut Decompressor) -> Result<Batch, BatchError> {
        let records = match self.header.codec() {
            Ok(Codec::None) => Ok(self.body),
            // Compaction may leave a header with its flags and nothing behind it.
            Ok(_) if self.body.is_empty() => Ok(self.body),
            Ok(codec) => decompressor.decompress(codec, &self.body).map(Bytes::from).map_err(BatchFault::Compression),
            Err(unknown) => Err(BatchFault::Codec(unknown)),
        };
        records.map(|records| Batch::new(self.header, records)).map_err(|fault| BatchError {
            first: self.header.base_offset,
            last: Some(self.header.last_offset()),
            fault,
        })
    }

    /// Bytes of the records as they came, compressed.
    pub fn compressed_bytes(&self) -> usize {
        self.body.len()
    }
}
