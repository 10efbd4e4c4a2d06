//! Zstandard through `zrip`: several frames, skippable ones among them, with or without content size and checksum.
//!
//! Absent: dictionaries, which Kafka does not use.

use zrip::{DecompressContext, DecompressError};

use crate::compression::{Codec, CompressionError, Scratch};

/// The default of Kafka and of zstd itself.
const LEVEL: i32 = 3;

/// Kept decoder tables.
pub(super) struct Context(DecompressContext);

impl Default for Context {
    fn default() -> Self {
        Self(DecompressContext::new())
    }
}

impl Context {
    pub(super) fn decompress(&mut self, input: &[u8], out: &mut Scratch) -> Result<(), CompressionError> {
        if input.is_empty() {
            return Err(CompressionError::malformed(Codec::Zstd, "there is no frame"));
        }
        out.bytes.clear();
        let written = self.0.decompress_into_with_limit(input, &mut out.bytes, out.cap);
        match written {
            Ok(bytes) => {
                out.advance(bytes);
                Ok(())
            }
            Err(DecompressError::OutputTooSmall) => Err(out.too_large()),
            Err(error) => Err(CompressionError::malformed(Codec::Zstd, error)),
        }
    }
}

pub(super) fn compress(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    zrip::compress(input, LEVEL).map_err(|error| CompressionError::malformed(Codec::Zstd, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::Decompressor;
    use crate::compression::tests::{assert_malformed, text, unpacked};
    use proptest::prelude::*;
    use ruzstd::decoding::StreamingDecoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::{Read, Write};

    /// One frame, read by a decoder that shares no code with ours. At most `cap` bytes of it.
    fn by_ruzstd(frame: &[u8], cap: u64) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let decoder = StreamingDecoder::new(frame).map_err(|error| error.to_string())?;
        decoder.take(cap).read_to_end(&mut out).map_err(|error| error.to_string())?;
        Ok(out)
    }

    /// A frame that does not say how long its content is.
    fn streamed(text: &[u8]) -> Vec<u8> {
        let mut encoder = zrip::FrameEncoder::new(Vec::new(), LEVEL).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn exchanged(text: &[u8]) {
        assert!(by_ruzstd(&compress(text).unwrap(), u64::MAX).unwrap() == text);
        assert!(by_ruzstd(&streamed(text), u64::MAX).unwrap() == text);
        let foreign = compress_to_vec(text, CompressionLevel::Fastest);
        assert!(unpacked(Codec::Zstd, &foreign).unwrap() == text);
    }

    #[test]
    fn frames_of_many_blocks_are_read_and_written_as_another_implementation_does() {
        for length in [128 << 10, (128 << 10) + 1, 600_000] {
            exchanged(&text(length));
        }
    }

    #[test]
    fn frames_without_a_content_size_are_read() {
        let text = text(400_000);
        assert!(unpacked(Codec::Zstd, &streamed(&text)).unwrap() == text);
    }

    #[test]
    fn frames_one_after_the_other_are_one_text_and_skippable_ones_nothing() {
        let skippable = [0x51, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        let frames = [&skippable[..], &compress(b"one ").unwrap(), &skippable, &streamed(b"two")].concat();
        assert_eq!(unpacked(Codec::Zstd, &frames).unwrap(), b"one two");
    }

    #[test]
    fn what_follows_the_last_frame_has_to_be_a_frame() {
        assert_malformed(Codec::Zstd, &[&compress(b"text").unwrap()[..], b"more"].concat(), "zstd data is malformed");
        assert_malformed(Codec::Zstd, b"no frame at all", "zstd data is malformed");
    }

    #[test]
    fn a_content_size_above_the_cap_is_refused_at_once() {
        // A single-segment frame that claims 2^63 bytes.
        let claim = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0];
        let refused = Decompressor::new(1000).decompress(Codec::Zstd, &claim);
        assert_eq!(refused, Err(CompressionError::OutputTooLarge { cap: 1000 }));
    }

    proptest! {
        #[test]
        fn both_decoders_read_what_both_encoders_write(length in 0_usize..10_000, noise: Vec<u8>) {
            exchanged(&[text(length), noise].concat());
        }

        #[test]
        fn changed_frames_that_both_decoders_read_say_the_same_to_both(
            flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
            length in 1_usize..5000,
        ) {
            let mut frame = compress(&text(length)).unwrap();
            for (at, mask) in flips {
                let at = at.index(frame.len());
                frame[at] ^= mask;
            }
            if let (Ok(ours), Ok(theirs)) = (unpacked(Codec::Zstd, &frame), by_ruzstd(&frame, 11 << 20)) {
                prop_assert!(ours == theirs);
            }
        }
    }
}
