//! The consumer protocol's assignment, read for the eyes of a test.

use bytes::{Buf, Bytes};

/// Topic and partition; `None` where the bytes are something else.
pub(super) fn decode(assignment: &Bytes) -> Option<Vec<(String, i32)>> {
    let mut rest = assignment.clone();
    rest.try_get_i16().ok()?;
    let topics = rest.try_get_i32().ok()?;
    let mut decoded = Vec::new();
    for _ in 0..topics {
        let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
        if rest.len() < length {
            return None;
        }
        let topic = String::from_utf8(rest.split_to(length).to_vec()).ok()?;
        for _ in 0..rest.try_get_i32().ok()? {
            decoded.push((topic.clone(), rest.try_get_i32().ok()?));
        }
    }
    Some(decoded)
}
