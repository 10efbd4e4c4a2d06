//! Reads big-endian integers, varints and slices off the front of bytes that came from the network.
//!
//! Promised: never reads past the end, never allocates, never panics; what is returned borrows from the input. After
//! an error nothing has been consumed by the failed call. Varints are Kafka's: zig-zag, little end first, as in
//! Protocol Buffers. Absent: the framing of requests and responses.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use thiserror::Error;

/// What is wrong with bytes that should hold a number or a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The bytes end inside of a value.
    #[error("the bytes end inside of a value")]
    Short,
    /// A varint has more bits than its type.
    #[error("a varint is longer than its type allows")]
    Varint,
    /// A length is negative where only -1 (null) or nothing below 0 is allowed.
    #[error("a length is negative")]
    Length,
    /// Bytes are left behind the last value.
    #[error("bytes are left behind the last value")]
    Trailing,
}

/// The bytes that have not been read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ReadError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ReadError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, ReadError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, ReadError> {
        self.array().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, ReadError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, ReadError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ReadError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, ReadError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A zig-zag varint of 32 bits. One and two bytes are the common cases: lengths and deltas inside a batch.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i32, ReadError> {
        match *self.rest {
            [a, ref rest @ ..] if a < 0x80 => {
                self.rest = rest;
                Ok(unzigzag32(u32::from(a)))
            }
            [a, b, ref rest @ ..] if b < 0x80 => {
                self.rest = rest;
                Ok(unzigzag32(u32::from(a & 0x7f) | (u32::from(b) << 7)))
            }
            _ => self.varint_long(),
        }
    }

    #[cold]
    fn varint_long(&mut self) -> Result<i32, ReadError> {
        let value = self.base128(5)?;
        u32::try_from(value).map(unzigzag32).map_err(|_| ReadError::Varint)
    }

    /// A zig-zag varint of 64 bits.
    #[inline]
    pub(crate) fn varlong(&mut self) -> Result<i64, ReadError> {
        match *self.rest {
            [a, ref rest @ ..] if a < 0x80 => {
                self.rest = rest;
                Ok(unzigzag64(u64::from(a)))
            }
            [a, b, ref rest @ ..] if b < 0x80 => {
                self.rest = rest;
                Ok(unzigzag64(u64::from(a & 0x7f) | (u64::from(b) << 7)))
            }
            _ => self.base128(10).map(unzigzag64),
        }
    }

    fn base128(&mut self, bytes_max: usize) -> Result<u64, ReadError> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().take(bytes_max).enumerate() {
            // At most ten bytes are looked at, so the shift is at most 63; only there can bits fall off the end.
            let shift = u32::try_from(index).unwrap_or(u32::MAX).saturating_mul(7);
            let bits = u64::from(byte & 0x7f);
            let shifted = bits.checked_shl(shift).ok_or(ReadError::Varint)?;
            if shifted.checked_shr(shift) != Some(bits) {
                return Err(ReadError::Varint);
            }
            value |= shifted;
            if *byte < 0x80 {
                self.take(index.saturating_add(1))?;
                return Ok(value);
            }
        }
        Err(if self.rest.len() < bytes_max { ReadError::Short } else { ReadError::Varint })
    }

    /// A varint length and that many bytes.
    #[inline]
    pub(crate) fn slice(&mut self) -> Result<&'a [u8], ReadError> {
        let before = *self;
        let length = usize::try_from(self.varint()?).map_err(|_| ReadError::Length);
        length.and_then(|length| self.take(length)).inspect_err(|_| *self = before)
    }

    /// As [`slice`](Self::slice), where -1 stands for null.
    #[inline]
    pub(crate) fn nullable_slice(&mut self) -> Result<Option<&'a [u8]>, ReadError> {
        // The varint -1 is the single byte 1.
        if let [1, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(None);
        }
        self.slice().map(Some)
    }

    /// Everything must have been read.
    pub(crate) fn finish(self) -> Result<(), ReadError> {
        if self.rest.is_empty() { Ok(()) } else { Err(ReadError::Trailing) }
    }
}

#[inline]
const fn unzigzag32(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

#[inline]
const fn unzigzag64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg()
}

/// Appends a zig-zag varint; one function for both widths, because their encodings agree.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while left >= 0x80 {
        out.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    out.push(left.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        out
    }

    #[test]
    fn varints_are_those_of_the_protocol_buffers_documentation() {
        for (value, bytes) in
            [(0, vec![0]), (-1, vec![1]), (1, vec![2]), (-2, vec![3]), (63, vec![126]), (64, vec![0x80, 1])]
        {
            assert_eq!(written(value), bytes);
        }
        assert_eq!(written(i64::from(i32::MIN)), [0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(written(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }

    #[test]
    fn a_varint_with_too_many_bits_is_refused() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint(), Err(ReadError::Varint));
        assert_eq!(Reader::new(&[0xff; 5]).varint(), Err(ReadError::Varint));
        assert_eq!(Reader::new(&[0xff; 10]).varlong(), Err(ReadError::Varint));
        let mut eleventh_bit = [0xff; 10];
        eleventh_bit[9] = 2;
        assert_eq!(Reader::new(&eleventh_bit).varlong(), Err(ReadError::Varint));
    }

    #[test]
    fn a_failed_read_consumes_nothing() {
        let mut reader = Reader::new(&[0xff, 0xff]);
        assert_eq!(reader.varint(), Err(ReadError::Short));
        assert_eq!(reader.i32(), Err(ReadError::Short));
        assert_eq!(reader.slice(), Err(ReadError::Short));
        assert_eq!(reader.rest(), [0xff, 0xff]);
        let mut promises_more = Reader::new(&[8, 1, 2]);
        assert_eq!(promises_more.slice(), Err(ReadError::Short));
        assert_eq!(promises_more.finish(), Err(ReadError::Trailing));
        assert_eq!(promises_more.rest().len(), 3);
    }

    #[test]
    fn only_minus_one_is_null() {
        assert_eq!(Reader::new(&[1]).nullable_slice(), Ok(None));
        assert_eq!(Reader::new(&[3]).nullable_slice(), Err(ReadError::Length));
        assert_eq!(Reader::new(&[0]).nullable_slice(), Ok(Some(&[][..])));
    }

    proptest! {
        #[test]
        fn varints_survive_the_round_trip(long: i64, int: i32) {
            prop_assert_eq!(Reader::new(&written(long)).varlong(), Ok(long));
            prop_assert_eq!(Reader::new(&written(i64::from(int))).varint(), Ok(int));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.varint().is_ok() && reader.varlong().is_ok() && reader.nullable_slice().is_ok() {}
            prop_assert!(reader.rest().len() <= bytes.len());
        }
    }
}
