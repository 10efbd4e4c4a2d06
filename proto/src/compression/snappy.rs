//! Snappy, raw and in the framing of xerial's snappy-java.
//!
//! The framing: a magic of eight bytes, two version numbers, then blocks, each a big-endian i32 length and a raw Snappy
//! block. Where two such streams were joined, the magic stands again in place of a length. The Java client writes
//! it with blocks of 32 KiB; librdkafka and others write raw Snappy.

use snap::raw::{Decoder, Encoder, decompress_len};

use crate::compression::{Codec, CompressionError, Scratch};
use crate::reader::Reader;

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// Version and lowest compatible version, both 1.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Magic and versions.
const HEADER_BYTES: usize = MAGIC.len() + VERSIONS.len();
const BLOCK_BYTES: usize = 32 << 10;
/// A copy of three bytes gives at most 64: nothing in Snappy grows faster.
const EXPANSION_MAX: usize = 22;

pub(super) fn decompress(input: &[u8], out: &mut Scratch) -> Result<(), CompressionError> {
    if !input.starts_with(MAGIC) {
        return block(input, out);
    }
    let mut reader = Reader::new(input);
    let short = |_| malformed("a block ends early");
    while !reader.is_empty() {
        if reader.rest().starts_with(MAGIC) {
            reader.take(HEADER_BYTES).map_err(short)?;
            continue;
        }
        let length =
            usize::try_from(reader.i32().map_err(short)?).map_err(|_| malformed("a block length is negative"))?;
        block(reader.take(length).map_err(short)?, out)?;
    }
    Ok(())
}

fn block(input: &[u8], out: &mut Scratch) -> Result<(), CompressionError> {
    let stated = decompress_len(input).map_err(malformed)?;
    if stated > input.len().saturating_mul(EXPANSION_MAX) {
        return Err(malformed("a block claims more than its bytes can hold"));
    }
    let room = out.room(stated)?;
    let written = Decoder::new().decompress(input, room).map_err(malformed)?;
    out.advance(written);
    Ok(())
}

/// Compresses without any framing, as librdkafka does.
pub fn compress_raw(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    Encoder::new().compress_vec(input).map_err(malformed)
}

pub(super) fn compress_xerial(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut out = [MAGIC.as_slice(), &VERSIONS].concat();
    for block in input.chunks(BLOCK_BYTES) {
        let packed = compress_raw(block)?;
        out.extend(i32::try_from(packed.len()).map_err(malformed)?.to_be_bytes());
        out.extend(packed);
    }
    Ok(out)
}

fn malformed(cause: impl std::fmt::Display) -> CompressionError {
    CompressionError::malformed(Codec::Snappy, cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::tests::{assert_malformed, text, unpacked};

    #[test]
    fn raw_and_framed_give_the_same_text() {
        let text = text(100_000);
        assert_eq!(unpacked(Codec::Snappy, &compress_raw(&text).unwrap()).unwrap(), text);
        assert_eq!(unpacked(Codec::Snappy, &compress_xerial(&text).unwrap()).unwrap(), text);
    }

    #[test]
    fn streams_that_were_joined_are_one_text() {
        let joined =
            [compress_xerial(b"one ").unwrap(), compress_xerial(b"").unwrap(), compress_xerial(b"two").unwrap()];
        assert_eq!(unpacked(Codec::Snappy, &joined.concat()).unwrap(), b"one two");
    }

    #[test]
    fn a_length_that_its_bytes_cannot_hold_is_refused_before_any_memory_is_taken() {
        // 0xffffffff bytes from two.
        assert_malformed(Codec::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], "claims more");
    }

    #[test]
    fn block_lengths_are_checked() {
        let mut framed = compress_xerial(b"text").unwrap();
        framed[16] = 0xff;
        assert_malformed(Codec::Snappy, &framed, "negative");
        framed[16] = 0x7f;
        assert_malformed(Codec::Snappy, &framed, "ends early");
    }
}
