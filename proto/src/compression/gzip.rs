//! gzip: one or more members, each with its own checksum.
//!
//! Bytes behind the last member that do not begin another one are ignored, as the Java client does.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::compression::{Codec, CompressionError, Scratch};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The default window of deflate, 32 KiB.
const WINDOW_BITS: u8 = 15;
/// Room is added in steps between these: what typically comes out, and not more at once than a step.
const STEP_BYTES: std::ops::RangeInclusive<usize> = (16 << 10)..=(1 << 20);

pub(super) fn decompress(input: &[u8], out: &mut Scratch) -> Result<(), CompressionError> {
    let mut rest = member(input, out)?;
    while rest.starts_with(&MAGIC) {
        rest = member(rest, out)?;
    }
    Ok(())
}

/// Inflates one member and returns what follows it.
fn member<'i>(input: &'i [u8], out: &mut Scratch) -> Result<&'i [u8], CompressionError> {
    let mut inflate = Decompress::new_gzip(WINDOW_BITS);
    let step = input.len().saturating_mul(4).clamp(*STEP_BYTES.start(), *STEP_BYTES.end());
    let mut rest = input;
    loop {
        let (read_before, written_before) = (inflate.total_in(), inflate.total_out());
        let full = out.left() == 0;
        // With the cap reached only the trailer may follow; a byte of room elsewhere shows whether more does.
        let mut surplus = [0_u8; 1];
        let free = if full { &mut surplus[..] } else { out.room(step.min(out.left()))? };
        let status = inflate.decompress(rest, free, FlushDecompress::None);
        let status = status.map_err(|error| CompressionError::malformed(Codec::Gzip, error))?;
        let read = length(inflate.total_in().saturating_sub(read_before));
        let written = length(inflate.total_out().saturating_sub(written_before));
        rest = rest.get(read..).unwrap_or_default();
        if full && written > 0 {
            return Err(out.too_large());
        }
        out.advance(written);
        if status == Status::StreamEnd {
            return Ok(rest);
        }
        if read == 0 && written == 0 {
            return Err(CompressionError::malformed(Codec::Gzip, "it ends early"));
        }
    }
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

pub(super) fn compress(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut deflate = Compress::new_gzip(Compression::default(), WINDOW_BITS);
    let mut out = Vec::with_capacity((input.len() / 2).max(64));
    loop {
        let read = length(deflate.total_in());
        let rest = input.get(read..).unwrap_or_default();
        let status = deflate.compress_vec(rest, &mut out, FlushCompress::Finish);
        match status.map_err(|error| CompressionError::malformed(Codec::Gzip, error))? {
            Status::StreamEnd => return Ok(out),
            Status::Ok | Status::BufError => out.reserve(out.capacity().max(64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::tests::{assert_malformed, text, unpacked};

    #[test]
    fn members_one_after_the_other_are_one_text() {
        let members = [compress(&text(70_000)).unwrap(), compress(b"").unwrap(), compress(b"the end").unwrap()];
        assert_eq!(unpacked(Codec::Gzip, &members.concat()).unwrap(), [&text(70_000)[..], b"the end"].concat());
    }

    #[test]
    fn what_follows_the_last_member_is_ignored() {
        let padded = [&compress(b"text").unwrap()[..], &[0; 9]].concat();
        assert_eq!(unpacked(Codec::Gzip, &padded).unwrap(), b"text");
    }

    #[test]
    fn a_member_that_breaks_off_is_not_mistaken_for_padding() {
        let member = compress(b"text").unwrap();
        assert_malformed(Codec::Gzip, &[&member[..], &member[..10]].concat(), "ends early");
    }

    #[test]
    fn checksum_and_length_of_a_member_are_checked() {
        let member = compress(b"text").unwrap();
        for from_the_end in [1, 5] {
            let mut changed = member.clone();
            let at = changed.len() - from_the_end;
            changed[at] ^= 1;
            assert_malformed(Codec::Gzip, &changed, "gzip data is malformed");
        }
        assert_malformed(Codec::Gzip, b"no gzip at all", "gzip data is malformed");
    }
}
