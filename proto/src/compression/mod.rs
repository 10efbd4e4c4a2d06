//! The four compressions of record batches, both ways.
//!
//! Promised: whatever the input, a call writes at most the cap and never reserves much more than the input could
//! really hold; a bomb costs an error. The working memory is kept from call to call, and so is that of a result once
//! nobody uses it, so that the steady state allocates nothing of a batch's size; gzip needs its window besides. Absent: levels as settings; Kafka's defaults are used, or the nearest the codec has.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use crate::buffers::Buffers;

pub use snappy::compress_raw as compress_snappy_raw;

/// Working memory above this is given back after use, so that one large batch does not cost its size for ever.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A result is lent out in its buffer if it fills at least this part of it: a small one would keep a large buffer alive.
const LENT_PART_MIN: usize = 8;

/// The compression of a batch's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// RFC 1952, one or more members.
    Gzip,
    /// Snappy: read raw or in xerial's framing, written in the latter, as the Java client does.
    Snappy,
    /// The LZ4 frame format 1.
    Lz4,
    /// Zstandard, RFC 8878, one or more frames.
    Zstd,
}

impl Codec {
    /// All of them, by their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in the attributes of a batch.
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec with a number, if there is one.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.id() == id)
    }

    /// The name in Kafka's settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes could not be compressed or decompressed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CompressionError {
    /// The output would be larger than allowed.
    #[error("it unpacks to more than the allowed {cap} bytes")]
    OutputTooLarge {
        /// How many bytes are allowed.
        cap: usize,
    },
    /// The input is not what the codec writes.
    #[error("its {codec} data is malformed: {cause}")]
    Malformed {
        /// The codec.
        codec: Codec,
        /// What is wrong, in the codec's words.
        cause: String,
    },
}

impl CompressionError {
    fn malformed(codec: Codec, cause: impl fmt::Display) -> Self {
        Self::Malformed { codec, cause: cause.to_string() }
    }
}

/// Takes compression off, with an output cap and working memory of its own. One per thread that decodes.
pub struct Decompressor {
    cap_bytes: usize,
    scratch: Scratch,
    results: Buffers,
    zstd: Option<zstd::Context>,
}

impl Decompressor {
    /// No single call will give more than `cap_bytes`.
    pub fn new(cap_bytes: usize) -> Self {
        Self { cap_bytes, scratch: Scratch::new(), results: Buffers::new(KEPT_BYTES_MAX), zstd: None }
    }

    /// Decompresses one batch's records. The result is as large as its content.
    pub fn decompress(&mut self, codec: Codec, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let result = self.unpack(codec, input).map(|()| self.scratch.written().to_vec());
        self.scratch.give_back();
        result
    }

    /// Likewise without a copy: the result lies in a buffer that is used for another batch when nobody looks at it any
    /// more.
    pub fn decompress_shared(&mut self, codec: Codec, input: &[u8]) -> Result<Bytes, CompressionError> {
        if self.scratch.bytes.capacity() == 0 {
            self.scratch.bytes = self.results.take();
        }
        let unpacked = self.unpack(codec, input);
        let filled = self.scratch.filled;
        let result = unpacked.map(|()| {
            if self.scratch.bytes.capacity() / LENT_PART_MIN > filled {
                return Bytes::copy_from_slice(self.scratch.written());
            }
            self.results.lend(std::mem::take(&mut self.scratch.bytes), filled)
        });
        self.scratch.give_back();
        result
    }

    fn unpack(&mut self, codec: Codec, input: &[u8]) -> Result<(), CompressionError> {
        self.scratch.start(self.cap_bytes);
        match codec {
            Codec::None => self.scratch.append(input),
            Codec::Gzip => gzip::decompress(input, &mut self.scratch),
            Codec::Snappy => snappy::decompress(input, &mut self.scratch),
            Codec::Lz4 => lz4::decompress(input, &mut self.scratch),
            Codec::Zstd => self.zstd.get_or_insert_default().decompress(input, &mut self.scratch),
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("cap_bytes", &self.cap_bytes).finish_non_exhaustive()
    }
}

/// Compresses one batch's records.
pub fn compress(codec: Codec, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    match codec {
        Codec::None => Ok(input.to_vec()),
        Codec::Gzip => gzip::compress(input),
        Codec::Snappy => snappy::compress_xerial(input),
        Codec::Lz4 => lz4::compress(input),
        Codec::Zstd => zstd::compress(input),
    }
}

/// A kept output buffer. Its vector stays as long as it has ever been, so that no byte is zeroed twice; how much of it
/// counts is a number beside it.
struct Scratch {
    bytes: Vec<u8>,
    filled: usize,
    cap: usize,
}

impl Scratch {
    const fn new() -> Self {
        Self { bytes: Vec::new(), filled: 0, cap: 0 }
    }

    fn start(&mut self, cap: usize) {
        self.filled = 0;
        self.cap = cap;
    }

    fn written(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// How much may still be written.
    fn left(&self) -> usize {
        self.cap.saturating_sub(self.filled)
    }

    const fn too_large(&self) -> CompressionError {
        CompressionError::OutputTooLarge { cap: self.cap }
    }

    /// Room for `wanted` more bytes.
    fn room(&mut self, wanted: usize) -> Result<&mut [u8], CompressionError> {
        let filled = self.filled;
        Ok(self.with_room(wanted)?.get_mut(filled..).unwrap_or_default())
    }

    /// What has been written, and room for `wanted` more bytes behind it. The caller has seen to it that `wanted` is in
    /// proportion to its input; the cap is held here.
    fn with_room(&mut self, wanted: usize) -> Result<&mut [u8], CompressionError> {
        if wanted > self.left() {
            return Err(self.too_large());
        }
        let needed = self.filled.saturating_add(wanted);
        if self.bytes.len() < needed {
            self.reserve(needed);
            self.bytes.resize(needed, 0);
        }
        Ok(self.bytes.get_mut(..needed).unwrap_or_default())
    }

    /// Doubles, as a vector does, but not beyond the cap.
    fn reserve(&mut self, needed: usize) {
        let capacity = self.bytes.capacity();
        if capacity < needed {
            let grown = capacity.saturating_mul(2).min(self.cap).max(needed);
            self.bytes.reserve_exact(grown.saturating_sub(self.bytes.len()));
        }
    }

    /// `bytes` of the room have been filled.
    fn advance(&mut self, bytes: usize) {
        self.filled = self.filled.saturating_add(bytes).min(self.bytes.len());
    }

    fn append(&mut self, input: &[u8]) -> Result<(), CompressionError> {
        self.room(input.len())?.copy_from_slice(input);
        self.advance(input.len());
        Ok(())
    }

    fn give_back(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes.truncate(KEPT_BYTES_MAX);
            self.bytes.shrink_to(KEPT_BYTES_MAX);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMPRESSED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    pub(crate) fn unpacked(codec: Codec, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
        Decompressor::new(10 << 20).decompress(codec, input)
    }

    #[track_caller]
    pub(crate) fn assert_malformed(codec: Codec, input: &[u8], cause: &str) {
        let error = unpacked(codec, input).unwrap_err();
        assert!(matches!(&error, CompressionError::Malformed { codec: named, .. } if *named == codec), "{error}");
        assert!(error.to_string().contains(cause), "{error}");
    }

    /// Text in which much repeats, longer than any block of any codec.
    pub(crate) fn text(bytes: usize) -> Vec<u8> {
        let words = (0_u32..).map(|n| format!("host-{} is {}; ", n.wrapping_mul(2_654_435_761) >> 22, n % 7));
        words.flat_map(String::into_bytes).take(bytes).collect()
    }

    #[test]
    fn the_numbers_are_those_of_the_batch_attributes() {
        assert_eq!(Codec::ALL.map(Codec::id), [0, 1, 2, 3, 4]);
        assert_eq!([5, 7, 255].map(Codec::from_id), [None; 3]);
        assert_eq!(Codec::from_id(3).unwrap().to_string(), "lz4");
    }

    #[test]
    fn every_codec_gives_back_what_it_was_given() {
        let mut decompressor = Decompressor::new(1 << 20);
        for length in [0, 1, 100, 33 << 10, 1 << 20, 70_000, 3] {
            for codec in Codec::ALL {
                let packed = compress(codec, &text(length)).unwrap();
                assert_eq!(decompressor.decompress(codec, &packed).unwrap(), text(length), "{codec} {length}");
            }
        }
    }

    #[test]
    fn the_cap_itself_is_allowed_and_one_byte_more_is_not() {
        for length in [1, 5000, 70_000, 300_000] {
            for codec in Codec::ALL {
                let packed = compress(codec, &text(length)).unwrap();
                assert_eq!(
                    Decompressor::new(length).decompress(codec, &packed).map(|out| out.len()),
                    Ok(length),
                    "{codec}"
                );
                let cap = length - 1;
                let refused = Decompressor::new(cap).decompress(codec, &packed);
                assert_eq!(refused, Err(CompressionError::OutputTooLarge { cap }), "{codec}");
            }
        }
    }

    #[test]
    fn a_bomb_costs_an_error_and_no_memory_beyond_the_cap() {
        let zeros = vec![0; 100 << 20];
        for codec in COMPRESSED {
            let bomb = compress(codec, &zeros).unwrap();
            let mut decompressor = Decompressor::new(1 << 20);
            let refused = decompressor.decompress(codec, &bomb);
            assert_eq!(refused, Err(CompressionError::OutputTooLarge { cap: 1 << 20 }), "{codec}");
            let kept = decompressor.scratch.bytes.capacity();
            assert!(kept <= (1 << 20) + (64 << 10), "{codec} kept {kept}");
            // And the same decompressor goes on working.
            let next = compress(codec, b"next").unwrap();
            assert_eq!(decompressor.decompress(codec, &next).unwrap(), b"next");
        }
    }

    #[test]
    fn a_shared_result_holds_what_a_copied_one_does_and_gives_its_buffer_back() {
        for codec in Codec::ALL {
            let mut decompressor = Decompressor::new(1 << 20);
            let packed = compress(codec, &text(300_000)).unwrap();
            let first = decompressor.decompress_shared(codec, &packed).unwrap();
            let second = decompressor.decompress_shared(codec, &packed).unwrap();
            assert!(first == text(300_000) && second == first, "{codec}");
            let address = first.as_ptr();
            drop(first);
            let third = decompressor.decompress_shared(codec, &packed).unwrap();
            assert_eq!((third.as_ptr(), third == second), (address, true), "{codec}");
            let small = decompressor.decompress_shared(codec, &compress(codec, b"small").unwrap()).unwrap();
            assert_eq!(&small[..], b"small", "{codec}");
        }
    }

    #[test]
    fn working_memory_of_a_large_batch_is_given_back() {
        for codec in COMPRESSED {
            let packed = compress(codec, &vec![7; 9 << 20]).unwrap();
            let mut decompressor = Decompressor::new(16 << 20);
            assert_eq!(decompressor.decompress(codec, &packed).unwrap().len(), 9 << 20);
            assert!(decompressor.scratch.bytes.capacity() <= KEPT_BYTES_MAX, "{codec}");
        }
    }

    #[test]
    fn input_that_ends_early_is_an_error_wherever_it_ends() {
        for codec in COMPRESSED {
            let packed = compress(codec, &text(200)).unwrap();
            for cut in 0..packed.len() {
                // Xerial's framing has no end mark: between two of its blocks a cut is not visible here.
                let between_blocks = codec == Codec::Snappy && cut == 16;
                assert_eq!(
                    unpacked(codec, &packed[..cut]).is_ok(),
                    between_blocks,
                    "{codec} at {cut} of {}",
                    packed.len()
                );
            }
        }
    }

    proptest! {
        #[test]
        fn round_trips_hold_for_any_bytes(bytes: Vec<u8>, repeat in 1_usize..40, codec in prop::sample::select(&Codec::ALL)) {
            let bytes = bytes.repeat(repeat);
            prop_assert_eq!(unpacked(codec, &compress(codec, &bytes).unwrap()).unwrap(), bytes);
        }

        #[test]
        fn changed_bytes_never_panic_and_never_pass_the_cap(
            flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..8),
            length in 1_usize..70_000,
            codec in prop::sample::select(&COMPRESSED),
        ) {
            let mut packed = compress(codec, &text(length)).unwrap();
            for (at, mask) in flips {
                let at = at.index(packed.len());
                packed[at] ^= mask;
            }
            let mut decompressor = Decompressor::new(80_000);
            prop_assert!(decompressor.decompress(codec, &packed).map_or(0, |out| out.len()) <= 80_000);
            prop_assert!(decompressor.scratch.bytes.capacity() <= 80_000 + (64 << 10));
            let next = compress(codec, b"next").unwrap();
            prop_assert_eq!(decompressor.decompress(codec, &next).unwrap(), b"next");
        }

        #[test]
        fn no_bytes_panic_or_pass_the_cap(bytes: Vec<u8>, codec in prop::sample::select(&COMPRESSED)) {
            let magic: &[u8] = match codec {
                Codec::None => &[],
                Codec::Gzip => &[0x1f, 0x8b, 8, 0],
                Codec::Snappy => b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01",
                Codec::Lz4 => &[4, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82],
                Codec::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            };
            for input in [&bytes[..], &[magic, &bytes].concat()] {
                prop_assert!(Decompressor::new(1000).decompress(codec, input).map_or(0, |out| out.len()) <= 1000);
            }
        }
    }
}
