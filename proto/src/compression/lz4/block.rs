//! One block of LZ4: literals and copies of what was written before, into a buffer that holds the window as well.
//!
//! Nearly every literal and copy is a few bytes long, so they are moved in pieces of fixed size, past their end where there is
//! room: what stands there is written again by what comes next. To call for a copy of the exact length takes longer than the
//! copy, the more so with musl's `memcpy`. Absent: frames.

#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "places in buffers and lengths that buffers hold are far below usize::MAX"
    )
)]

/// Why a block cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BlockError {
    /// The block ends inside a sequence.
    #[error("a block ends early")]
    EndsEarly,
    /// A copy begins before the window.
    #[error("a block refers to what is not there")]
    OutsideOfWindow,
    /// The block holds more than there is room for.
    #[error("a block holds more than its frame allows")]
    OutputTooSmall,
}

/// The shortest copy.
const COPY_MIN: usize = 4;
/// A length of four bits that goes on in the bytes behind it.
const GOES_ON: usize = 15;
/// What is moved at a time.
const PIECE: usize = 16;
/// What is moved of more literals than that.
const LONG_PIECE: usize = 64;

/// Unpacks `packed` behind `at` in `out`; returns where it ends there. Copies reach back to `window` at most.
pub(super) fn unpack(packed: &[u8], out: &mut [u8], window: usize, mut at: usize) -> Result<usize, BlockError> {
    let mut read = 0;
    loop {
        let token = usize::from(*packed.get(read).ok_or(BlockError::EndsEarly)?);
        read += 1;
        let mut literals = token >> 4;
        if literals == GOES_ON {
            literals += length_behind(packed, &mut read)?;
        }
        let is_moved = if literals <= PIECE {
            move_literals::<PIECE>(packed, read, out, at)
        } else {
            literals <= LONG_PIECE && move_literals::<LONG_PIECE>(packed, read, out, at)
        };
        if !is_moved {
            append(packed, read, out, at, literals)?;
        }
        read += literals;
        at += literals;
        // Only literals end a block.
        if read >= packed.len() {
            return if read == packed.len() { Ok(at) } else { Err(BlockError::EndsEarly) };
        }
        let back = packed.get(read..).and_then(|rest| rest.first_chunk()).ok_or(BlockError::EndsEarly)?;
        let back = usize::from(u16::from_le_bytes(*back));
        read += 2;
        let mut long = token & GOES_ON;
        if long == GOES_ON {
            long += length_behind(packed, &mut read)?;
        }
        long += COPY_MIN;
        let from =
            at.checked_sub(back).filter(|from| back > 0 && *from >= window).ok_or(BlockError::OutsideOfWindow)?;
        let left = out.len().checked_sub(at + long).ok_or(BlockError::OutputTooSmall)?;
        // A piece is written before the next one reads it.
        if back >= PIECE && left >= 2 * PIECE {
            out.copy_within(from..from + PIECE, at);
            out.copy_within(from + PIECE..from + 2 * PIECE, at + PIECE);
            let mut done = 2 * PIECE;
            while done < long {
                out.copy_within(from + done..from + done + PIECE, at + done);
                done += PIECE;
            }
        } else if back >= PIECE / 2 && left >= PIECE {
            let mut done = 0;
            while done < long {
                out.copy_within(from + done..from + done + PIECE / 2, at + done);
                done += PIECE / 2;
            }
        } else {
            repeat(out, from, at, long);
        }
        at += long;
    }
}

/// What is to be added to a length: the bytes behind it, up to the first that is not full.
#[inline]
fn length_behind(packed: &[u8], read: &mut usize) -> Result<usize, BlockError> {
    let mut sum = 0;
    loop {
        let more = *packed.get(*read).ok_or(BlockError::EndsEarly)?;
        *read += 1;
        sum += usize::from(more);
        if more != u8::MAX {
            return Ok(sum);
        }
    }
}

/// Moves a piece of literals, if both sides have room for all of it.
#[inline]
fn move_literals<const BYTES: usize>(packed: &[u8], read: usize, out: &mut [u8], at: usize) -> bool {
    let (Some(from), Some(into)) = (packed.get(read..read + BYTES), out.get_mut(at..at + BYTES)) else { return false };
    into.copy_from_slice(from);
    true
}

/// Copies just these literals. Apart from the above, or both would become one call with a length that varies.
#[cold]
#[inline(never)]
fn append(packed: &[u8], read: usize, out: &mut [u8], at: usize, literals: usize) -> Result<(), BlockError> {
    let from = packed.get(read..read + literals).ok_or(BlockError::EndsEarly)?;
    out.get_mut(at..at + literals).ok_or(BlockError::OutputTooSmall)?.copy_from_slice(from);
    Ok(())
}

/// Writes the bytes that stand behind `from`, and go on behind `at` with what is written: each time twice as much.
#[inline(never)]
fn repeat(out: &mut [u8], from: usize, at: usize, long: usize) {
    let mut done = 0;
    while done < long {
        let ready = (at + done - from).min(long - done);
        out.copy_within(from..from + ready, at + done);
        done += ready;
    }
}

#[cfg(test)]
mod tests {
    use lz4_flex::block::{compress, decompress_into};
    use proptest::prelude::*;

    use super::*;

    /// What the block holds, in a room of that size behind a window that nobody may look into.
    fn unpacked(packed: &[u8], room: usize) -> Result<Vec<u8>, BlockError> {
        let mut out = vec![b'#'; 100 + room];
        let end = unpack(packed, &mut out, 100, 100)?;
        assert!(out[..100].iter().all(|byte| *byte == b'#'), "the window is not written");
        Ok(out[100..end].to_vec())
    }

    /// Text whose copies are short and long, near and far.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..90),
            (proptest::collection::vec(any::<u8>(), 1..20), 1usize..60).prop_map(|(part, times)| part.repeat(times)),
            Just(b"{\"name\": \"host\", \"value\": \"worker-1.grid.example\"}, ".to_vec()),
        ];
        proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let literals = [0x40, b'a', b'b', b'c', b'd'];
        assert_eq!(unpacked(&literals, 4), Ok(b"abcd".to_vec()));
        assert_eq!(unpacked(&literals, 3), Err(BlockError::OutputTooSmall));
        assert_eq!(unpacked(&literals[..4], 4), Err(BlockError::EndsEarly));
        assert_eq!(unpacked(&[], 4), Err(BlockError::EndsEarly));
        let copy = |back: u8| [&literals[..], &[back, 0, 0x00]].concat();
        assert_eq!(unpacked(&copy(4), 8), Ok(b"abcdabcd".to_vec()));
        assert_eq!(unpacked(&copy(1), 8), Ok(b"abcddddd".to_vec()));
        assert_eq!(unpacked(&copy(4), 7), Err(BlockError::OutputTooSmall));
        for back in [0, 5, 104] {
            assert_eq!(unpacked(&copy(back), 8), Err(BlockError::OutsideOfWindow), "{back}");
        }
        assert_eq!(unpacked(&copy(4)[..6], 8), Err(BlockError::EndsEarly));
        assert_eq!(unpacked(&[0xf0, 255, 255], 8), Err(BlockError::EndsEarly));
    }

    #[test]
    fn a_copy_reaches_into_the_window_and_no_further() {
        let mut out = *b"..window............";
        assert_eq!(unpack(&[0x02, 6, 0, 0x00], &mut out, 2, 8), Ok(14));
        assert_eq!(&out[..14], b"..windowwindow");
        assert_eq!(unpack(&[0x02, 7, 0, 0x00], &mut out, 2, 8), Err(BlockError::OutsideOfWindow));
    }

    proptest! {
        #[test]
        fn every_text_comes_back_in_exactly_its_room(text in text(), room in 0usize..70) {
            let packed = compress(&text);
            prop_assert_eq!(unpacked(&packed, text.len() + room), Ok(text.clone()));
            if let Some(less) = text.len().checked_sub(1 + room) {
                prop_assert_eq!(unpacked(&packed, less), Err(BlockError::OutputTooSmall));
            }
        }

        #[test]
        fn changed_blocks_hold_what_another_reader_finds_in_them(
            text in text(),
            edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut packed = compress(&text);
            for (at, byte) in edits {
                *at.get_mut(&mut packed) = byte;
            }
            let mut other = vec![0; 4096];
            let other = decompress_into(&packed, &mut other).map(|length| other[..length].to_vec());
            prop_assert_eq!(unpacked(&packed, 4096).ok(), other.ok());
        }
    }
}
