//! Large buffers that are used again and again.
//!
//! A heap that grows by megabytes for each response and is trimmed again makes the kernel clear every page anew, which
//! costs more than everything that is done with the bytes. So a buffer is lent out as [`Bytes`] and comes back, its pages
//! with it, when the last slice of it is dropped. Promised: few buffers wait, none of them larger than stated, and what
//! comes back to nobody is freed. Nothing here is cleared: a buffer holds old bytes until it is written again.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// How many buffers wait to be used again.
const KEPT_MAX: usize = 2;

/// Buffers that wait to be used again; clones share them.
#[derive(Clone, Debug)]
pub struct Buffers(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    waiting: Mutex<Vec<Vec<u8>>>,
    kept_bytes_max: usize,
}

impl Buffers {
    /// A buffer that has grown above `kept_bytes_max` is freed after use.
    pub fn new(kept_bytes_max: usize) -> Self {
        Self(Arc::new(Shelf { waiting: Mutex::default(), kept_bytes_max }))
    }

    /// A buffer that waits, as long and with what it held when it came back; else a new and empty one.
    pub fn take(&self) -> Vec<u8> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// The first `filled` bytes of a buffer, which comes back when nobody uses them any more.
    pub fn lend(&self, buffer: Vec<u8>, filled: usize) -> Bytes {
        Bytes::from_owner(Lent { filled: filled.min(buffer.len()), buffer, home: Arc::downgrade(&self.0) })
    }
}

impl Shelf {
    fn put(&self, buffer: Vec<u8>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() <= self.kept_bytes_max && waiting.len() < KEPT_MAX {
            waiting.push(buffer);
        }
    }
}

struct Lent {
    buffer: Vec<u8>,
    filled: usize,
    home: Weak<Shelf>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            home.put(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_slice() {
        let buffers = Buffers::new(100);
        let lent = buffers.lend(vec![7; 50], 20);
        let slice = lent.slice(5..15);
        assert_eq!((lent.len(), &slice[..]), (20, &[7; 10][..]));
        drop(lent);
        assert_eq!(buffers.take(), [0; 0], "a slice is still in use");
        drop(slice);
        assert_eq!(buffers.take(), [7; 50]);
    }

    #[test]
    fn few_buffers_wait_and_no_large_one() {
        let buffers = Buffers::new(100);
        let lent: Vec<_> = (0..5).map(|_| buffers.lend(vec![1; 10], 10)).collect();
        drop(lent);
        drop(buffers.lend(vec![1; 101], 1));
        let waiting = std::iter::from_fn(|| Some(buffers.take()).filter(|buffer| !buffer.is_empty()));
        assert_eq!(waiting.count(), KEPT_MAX);
    }

    #[test]
    fn bytes_outlive_the_shelf_they_came_from() {
        let buffers = Buffers::new(100);
        let lent = buffers.lend(vec![3; 10], 11);
        drop(buffers);
        assert_eq!(&lent[..], [3; 10]);
    }
}
