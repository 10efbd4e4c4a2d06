//! The four compressions of record batches, both ways.
//!
//! Promised: whatever the input, a call writes at most the cap and never reserves much more than the input could
//! really hold; a bomb costs an error. The working memory is kept from call to call, so that the steady state allocates
//! once per batch, the result; gzip needs its window besides. Absent: levels as settings; Kafka's defaults are used, or the nearest the codec has.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;

use thiserror::Error;

pub use snappy::compress_raw as compress_snappy_raw;

/// Working memory above this is given back after use, so that one large batch does not cost its size for ever.
const KEPT_BYTES_MAX: usize = 4 << 20;

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
    zstd: Option<zstd::Context>,
}

impl Decompressor {
    /// No single call will give more than `cap_bytes`.
    pub const fn new(cap_bytes: usize) -> Self {
        Self { cap_bytes, scratch: Scratch::new(), zstd: None }
    }

    /// Decompresses one batch's records. The result is as large as its content.
    pub fn decompress(&mut self, codec: Codec, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
        self.scratch.start(self.cap_bytes);
        let unpacked = match codec {
            Codec::None => self.scratch.append(input),
            Codec::Gzip => gzip::decompress(input, &mut self.scratch),
            Codec::Snappy => snappy::decompress(input, &mut self.scratch),
            Codec::Lz4 => lz4::decompress(input, &mut self.scratch),
            Codec::Zstd => self.zstd.get_or_insert_default().decompress(input, &mut self.scratch),
        };
        let result = unpacked.map(|()| self.scratch.written().to_vec());
        self.scratch.give_back();
        result
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

    /// What has been written, and room for at least `wanted` more bytes behind it. The caller has seen to it that
    /// `wanted` is in proportion to its input; the cap is held here.
    fn room(&mut self, wanted: usize) -> Result<(&[u8], &mut [u8]), CompressionError> {
        if wanted > self.left() {
            return Err(self.too_large());
        }
        let needed = self.filled.saturating_add(wanted);
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        let (written, free) = self.bytes.split_at_mut(self.filled);
        Ok((written, free.get_mut(..wanted).unwrap_or_default()))
    }

    /// `bytes` of the room have been filled.
    fn advance(&mut self, bytes: usize) {
        self.filled = self.filled.saturating_add(bytes).min(self.bytes.len());
    }

    fn append(&mut self, input: &[u8]) -> Result<(), CompressionError> {
        self.room(input.len())?.1.copy_from_slice(input);
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
