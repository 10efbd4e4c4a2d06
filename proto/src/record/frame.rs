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
            Ok(codec) => decompressor.decompress_shared(codec, &self.body).map_err(BatchFault::Compression),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{EncodeOptions, NewRecord, encode_batch};
    use proptest::prelude::*;

    /// Batches of three records each, one after the other.
    fn log(codecs: &[Codec]) -> (Vec<u8>, Vec<usize>) {
        let (mut out, mut begins) = (Vec::new(), Vec::new());
        for (base, codec) in (0..).step_by(3).zip(codecs) {
            begins.push(out.len());
            let options = EncodeOptions { base_offset: Offset(base), codec: *codec, ..EncodeOptions::default() };
            let record = NewRecord { key: Some(b"k"), value: Some(b"some value some value"), ..NewRecord::default() };
            encode_batch(&options, [record; 3], &mut out).unwrap();
        }
        (out, begins)
    }

    fn bases(bytes: Vec<u8>) -> Vec<Result<i64, BatchError>> {
        Batches::new(bytes.into()).map(|batch| batch.map(|batch| batch.header.base_offset.get())).collect()
    }

    fn resealed(mut batch: Vec<u8>) -> Vec<u8> {
        let crc = crc32c::crc32c(&batch[CHECKED_FROM..]);
        batch[CRC_AT..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
        batch
    }

    #[test]
    fn a_cut_off_tail_ends_cleanly_wherever_the_cut_is() {
        let (bytes, begins) = log(&[Codec::None, Codec::None]);
        for cut in 0..bytes.len() {
            let mut batches = Batches::new(Bytes::copy_from_slice(&bytes[..cut]));
            let whole = batches.by_ref().map(Result::unwrap).count();
            assert_eq!(whole, usize::from(cut >= begins[1]), "{cut}");
            assert_eq!(batches.bytes_left(), if cut >= begins[1] { cut - begins[1] } else { cut });
        }
    }

    #[test]
    fn a_corrupt_batch_names_its_offsets_and_the_next_one_is_read() {
        let (mut bytes, begins) = log(&[Codec::Zstd; 3]);
        bytes[begins[1] + HEADER_BYTES + 3] ^= 0x10;
        let found = bases(bytes);
        assert_eq!((&found[0], &found[2]), (&Ok(0), &Ok(6)));
        let error = found[1].clone().unwrap_err();
        assert_eq!((error.first, error.last), (Offset(3), Some(Offset(5))));
        assert!(matches!(error.fault, BatchFault::Crc { stated, computed } if stated != computed));
    }

    #[test]
    fn a_flipped_bit_in_the_last_offset_does_not_step_over_good_batches() {
        let (mut bytes, begins) = log(&[Codec::None; 2]);
        bytes[CHECKED_FROM + 2] ^= 0x40;
        assert_eq!(bases(bytes)[0].clone().unwrap_err().last, Some(Offset(2)));
        // Without a batch behind it there is only the claim.
        let (mut alone, _) = log(&[Codec::None]);
        alone[CHECKED_FROM + 2] ^= 0x40;
        assert_eq!(begins[1], alone.len());
        assert_eq!(bases(alone)[0].clone().unwrap_err().last, Some(Offset(2 | 0x4000_0000)));
    }

    #[test]
    fn other_message_formats_are_reported_and_stepped_over() {
        for magic in [0, 1, 3] {
            let (mut bytes, _) = log(&[Codec::None; 2]);
            bytes[MAGIC_AT] = magic;
            let found = bases(bytes);
            let error = found[0].clone().unwrap_err();
            assert_eq!((error.fault, error.first, error.last), (BatchFault::Magic(magic), Offset(0), Some(Offset(2))));
            assert_eq!(found[1], Ok(3));
        }
    }

    #[test]
    fn an_impossible_length_ends_the_walk_with_an_error() {
        for length in [0, 13, -1, i32::MIN] {
            let (mut bytes, _) = log(&[Codec::None; 2]);
            bytes[8..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
            let found = bases(bytes);
            assert_eq!(found.len(), 1);
            let error = found[0].clone().unwrap_err();
            assert_eq!((error.fault, error.last), (BatchFault::Length(length), None));
        }
    }

    #[test]
    fn a_batch_too_short_for_its_header_is_an_error() {
        let mut bytes = vec![0; 40];
        bytes[8..PREFIX_BYTES].copy_from_slice(&28_i32.to_be_bytes());
        bytes[MAGIC_AT] = MAGIC;
        let error = bases(resealed(bytes))[0].clone().unwrap_err();
        assert_eq!(error.fault, BatchFault::Header(HeaderFault::Incomplete));
    }

    #[test]
    fn headers_that_contradict_themselves_are_errors() {
        let with = |at: usize, bytes: &[u8]| {
            let (mut batch, _) = log(&[Codec::None]);
            batch[at..at + bytes.len()].copy_from_slice(bytes);
            bases(resealed(batch))[0].clone().unwrap_err()
        };
        let negative_delta = with(CHECKED_FROM + 2, &(-1_i32).to_be_bytes());
        assert_eq!(negative_delta.fault, BatchFault::Header(HeaderFault::Offsets { base: 0, delta: -1 }));
        let negative_count = with(57, &(-1_i32).to_be_bytes());
        assert_eq!(negative_count.fault, BatchFault::Header(HeaderFault::RecordCount(-1)));
        let negative_base = with(0, &(-1_i64).to_be_bytes());
        assert_eq!(negative_base.fault, BatchFault::Header(HeaderFault::Offsets { base: -1, delta: 2 }));
        let past_the_end = with(0, &(i64::MAX - 2).to_be_bytes());
        assert_eq!(past_the_end.fault, BatchFault::Header(HeaderFault::Offsets { base: i64::MAX - 2, delta: 2 }));
    }

    #[test]
    fn an_unknown_codec_is_an_error_of_its_batch_alone() {
        let (mut bytes, begins) = log(&[Codec::None; 2]);
        bytes[CHECKED_FROM + 1] = 6;
        let (first, second) = bytes.split_at(begins[1]);
        let bytes = [resealed(first.to_vec()), second.to_vec()].concat();
        let mut decompressor = Decompressor::new(100);
        let opened: Vec<_> = Batches::new(bytes.into()).map(|batch| batch.unwrap().open(&mut decompressor)).collect();
        let error = opened[0].as_ref().unwrap_err();
        assert_eq!((&error.fault, error.first, error.last), (&BatchFault::Codec(6), Offset(0), Some(Offset(2))));
        assert_eq!(opened[1].as_ref().unwrap().records().count(), 3);
    }

    #[test]
    fn a_batch_above_the_cap_is_an_error_with_its_offsets() {
        let (bytes, _) = log(&[Codec::Gzip]);
        let batch = Batches::new(bytes.into()).next().unwrap().unwrap();
        let error = batch.open(&mut Decompressor::new(20)).unwrap_err();
        assert_eq!(error.fault, BatchFault::Compression(CompressionError::OutputTooLarge { cap: 20 }));
        assert_eq!(error.last, Some(Offset(2)));
        let message = "the record batch at offset 0 cannot be used: it unpacks to more than the allowed 20 bytes";
        assert_eq!(error.to_string(), message);
    }

    proptest! {
        #[test]
        fn no_change_of_a_log_makes_it_panic(
            flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..6),
            codec in prop::sample::select(&Codec::ALL),
            reseal: bool,
        ) {
            let (mut bytes, begins) = log(&[codec, codec]);
            for (at, mask) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
            if reseal {
                let second = bytes.split_off(begins[1]);
                bytes = [resealed(bytes), resealed(second)].concat();
            }
            let mut decompressor = Decompressor::new(1000);
            for batch in Batches::new(bytes.into()).flatten() {
                if let Ok(batch) = batch.open(&mut decompressor) {
                    prop_assert!(batch.header().codec() == Ok(Codec::None) || batch.size() <= 1000);
                    let _ = (batch.verify(), batch.control());
                    prop_assert!(batch.records().count() < 1000);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            prop_assert!(Batches::new(bytes.into()).count() < 100);
        }
    }
}
