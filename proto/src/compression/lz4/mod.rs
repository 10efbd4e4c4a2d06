//! The LZ4 frame format, version 1: independent and linked blocks, all checksums, frames one after the other.
//!
//! The frame is read here: it states its largest block size, usually far more than it holds, and a reader that reserves that
//! much for every small batch spends its time zeroing memory. `lz4_flex` writes frames. Absent: frames that need a preset
//! dictionary, and the legacy format.

mod block;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use std::io::Write;
use twox_hash::XxHash32;

use crate::compression::lz4::block::BlockError;
use crate::compression::{Codec, CompressionError, Scratch};
use crate::reader::Reader;

const MAGIC: u32 = 0x184D_2204;
/// Sixteen magics whose frames hold nothing for us; a length follows.
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184D_2A50..=0x184D_2A5F;
/// The least that a block is tried with.
const ROOM_MIN: usize = 64 << 10;
/// One more byte of length gives at most 255 more bytes of output.
const EXPANSION_MAX: usize = 255;
/// What a block is tried with first: text rarely packs better, and room that is not needed is memory that is cleared.
const EXPANSION_USUAL: usize = 8;
/// In a block's size: the block is stored as it is.
const STORED: u32 = 1 << 31;

pub(super) fn decompress(input: &[u8], out: &mut Scratch) -> Result<(), CompressionError> {
    let mut input = Input(Reader::new(input));
    let mut frames = 0_u32;
    while frames == 0 || !input.0.is_empty() {
        match input.u32()? {
            MAGIC => frame(&mut input, out)?,
            magic if SKIPPABLE.contains(&magic) => {
                let length = input.u32()?;
                input.take(length)?;
            }
            _ => return Err(malformed("a frame does not begin with its magic number")),
        }
        frames = frames.saturating_add(1);
    }
    Ok(())
}

/// Reads in LZ4's byte order.
struct Input<'a>(Reader<'a>);

impl<'a> Input<'a> {
    fn u32(&mut self) -> Result<u32, CompressionError> {
        self.0.u32().map(u32::swap_bytes).map_err(|_| malformed("it ends early"))
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], CompressionError> {
        let length = usize::try_from(length).map_err(malformed)?;
        self.0.take(length).map_err(|_| malformed("it ends early"))
    }

    fn checksum(&mut self, of: &[u8], whose: &str) -> Result<(), CompressionError> {
        if self.u32()? == XxHash32::oneshot(0, of) {
            return Ok(());
        }
        Err(malformed(format_args!("the checksum of {whose} is wrong")))
    }
}

/// The descriptor of a frame.
struct Descriptor {
    linked: bool,
    block_checksums: bool,
    content_bytes: Option<u64>,
    content_checksum: bool,
    block_bytes_max: usize,
}

impl Descriptor {
    /// FLG, BD, perhaps the content size, and a byte of checksum over all of them.
    fn read(input: &mut Input<'_>) -> Result<Self, CompressionError> {
        let mut ahead = Input(input.0);
        let &[flags, sizes] = ahead.take(2)? else { return Err(malformed("it ends early")) };
        let has = |bit: u8| flags & (1 << bit) != 0;
        if flags >> 6 != 1 || has(1) || sizes & 0b1000_1111 != 0 {
            return Err(malformed("the version or a reserved bit of a frame is not known"));
        }
        if has(0) {
            return Err(malformed("a frame needs a dictionary"));
        }
        let block_bytes_max = match sizes >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return Err(malformed("the block size of a frame is not known")),
        };
        let content_bytes = has(3).then(|| Ok((u64::from(ahead.u32()?), u64::from(ahead.u32()?)))).transpose()?;
        let described = input.take(if content_bytes.is_some() { 10 } else { 2 })?;
        let stated = input.take(1)?;
        if stated != [XxHash32::oneshot(0, described).to_le_bytes()[1]] {
            return Err(malformed("the checksum of a frame's header is wrong"));
        }
        Ok(Self {
            linked: !has(5),
            block_checksums: has(4),
            content_bytes: content_bytes.map(|(low, high)| low | (high << 32)),
            content_checksum: has(2),
            block_bytes_max,
        })
    }
}

fn frame(input: &mut Input<'_>, out: &mut Scratch) -> Result<(), CompressionError> {
    let descriptor = Descriptor::read(input)?;
    let begin = out.filled;
    loop {
        let size = input.u32()?;
        if size == 0 {
            break;
        }
        let packed = input.take(size & !STORED)?;
        if descriptor.block_checksums {
            input.checksum(packed, "a block")?;
        }
        if size & STORED == 0 {
            block(packed, &descriptor, begin, out)?;
        } else if packed.len() > descriptor.block_bytes_max {
            return Err(malformed("a block is larger than its frame allows"));
        } else {
            out.append(packed)?;
        }
    }
    let content = out.written().get(begin..).unwrap_or_default();
    if descriptor.content_checksum {
        input.checksum(content, "the content")?;
    }
    if descriptor.content_bytes.is_some_and(|stated| u64::try_from(content.len()) != Ok(stated)) {
        return Err(malformed("the content is not as long as its frame says"));
    }
    Ok(())
}

fn block(packed: &[u8], frame: &Descriptor, begin: usize, out: &mut Scratch) -> Result<(), CompressionError> {
    let possible = packed.len().saturating_mul(EXPANSION_MAX).min(frame.block_bytes_max);
    let usual = packed.len().saturating_mul(EXPANSION_USUAL).max(ROOM_MIN);
    if usual < possible.min(out.left()) && unpack(packed, frame, begin, usual, out).is_ok() {
        return Ok(());
    }
    let allowed = possible.min(out.left());
    match unpack(packed, frame, begin, allowed, out) {
        Err(Unpacking::Block(BlockError::OutputTooSmall)) if allowed < possible => Err(out.too_large()),
        Err(Unpacking::Block(error)) => Err(malformed(error)),
        Err(Unpacking::Room(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

/// Why a block was not unpacked.
enum Unpacking {
    Block(BlockError),
    Room(CompressionError),
}

/// Unpacks a block into at most `allowed` bytes.
fn unpack(packed: &[u8], frame: &Descriptor, begin: usize, allowed: usize, out: &mut Scratch) -> Result<(), Unpacking> {
    let at = out.filled;
    // A block of its own refers to nothing before it.
    let window = if frame.linked { begin } else { at };
    let whole = out.with_room(allowed).map_err(Unpacking::Room)?;
    let end = block::unpack(packed, whole, window, at).map_err(Unpacking::Block)?;
    out.advance(end.saturating_sub(at));
    Ok(())
}

/// Writes what the Java client writes: independent blocks of 64 KiB, no checksums but the header's.
pub(super) fn compress(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let frame = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(frame, Vec::with_capacity(input.len() / 2));
    encoder.write_all(input).map_err(malformed)?;
    encoder.finish().map_err(malformed)
}

fn malformed(cause: impl std::fmt::Display) -> CompressionError {
    CompressionError::malformed(Codec::Lz4, cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::tests::{assert_malformed, text, unpacked};

    fn written(frame: FrameInfo, text: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_variant_of_the_frame_is_read() {
        let text = text(600_000);
        for block_size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for mode in [BlockMode::Independent, BlockMode::Linked] {
                for checksums in [false, true] {
                    let frame = FrameInfo::new().block_size(block_size).block_mode(mode);
                    let frame = frame.block_checksums(checksums).content_checksum(checksums);
                    let frame = frame.content_size(checksums.then_some(600_000));
                    assert!(unpacked(Codec::Lz4, &written(frame, &text)).unwrap() == text);
                }
            }
        }
    }

    #[test]
    fn a_linked_frame_behind_another_does_not_reach_into_it() {
        let linked = || FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Linked);
        let frames = [written(linked(), &text(150_000)), written(linked(), &text(150_000))].concat();
        assert!(unpacked(Codec::Lz4, &frames).unwrap() == text(150_000).repeat(2));
    }

    #[test]
    fn bytes_that_do_not_compress_are_stored() {
        let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        let states = std::iter::successors(Some(1_u64), next);
        let noise: Vec<u8> = states.map(|state| state.to_be_bytes()[0]).take(9000).collect();
        let packed = compress(&noise).unwrap();
        assert_eq!(packed[10] & 0x80, 0x80, "the first block is stored");
        assert_eq!(unpacked(Codec::Lz4, &packed).unwrap(), noise);
    }

    #[test]
    fn frames_that_are_to_be_skipped_are() {
        let skippable = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
        let frames = [&skippable[..], &compress(b"one ").unwrap(), &skippable, &compress(b"two").unwrap()].concat();
        assert_eq!(unpacked(Codec::Lz4, &frames).unwrap(), b"one two");
    }

    #[test]
    fn every_checksum_is_checked() {
        let frame = FrameInfo::new().block_size(BlockSize::Max64KB).block_checksums(true).content_checksum(true);
        let good = written(frame, b"some text some text some text");
        let changed = |at: usize| {
            let mut changed = good.clone();
            changed[at] ^= 1;
            changed
        };
        assert_malformed(Codec::Lz4, &changed(6), "a frame's header");
        // From the end: content checksum, end mark, block checksum, four bytes each.
        assert_malformed(Codec::Lz4, &changed(good.len() - 1), "the content");
        assert_malformed(Codec::Lz4, &changed(good.len() - 9), "a block");
    }

    #[test]
    fn what_the_format_forbids_is_refused() {
        assert_malformed(Codec::Lz4, b"no frame at all", "magic");
        let with_flags = |flags: u8, sizes: u8| [4, 0x22, 0x4d, 0x18, flags, sizes, 0, 0, 0, 0, 0];
        assert_malformed(Codec::Lz4, &with_flags(0x20, 0x40), "version");
        assert_malformed(Codec::Lz4, &with_flags(0x62, 0x40), "reserved");
        assert_malformed(Codec::Lz4, &with_flags(0x61, 0x40), "dictionary");
        assert_malformed(Codec::Lz4, &with_flags(0x60, 0x30), "block size");
        let behind = [&compress(b"text").unwrap()[..], b"and more"].concat();
        assert_malformed(Codec::Lz4, &behind, "magic");
    }

    #[test]
    fn a_content_size_that_is_not_true_is_an_error() {
        let mut packed = written(FrameInfo::new().content_size(Some(4)), b"text");
        packed[6] = 5;
        packed[14] = XxHash32::oneshot(0, &packed[4..14]).to_le_bytes()[1];
        assert_malformed(Codec::Lz4, &packed, "as long as");
    }
}
