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
