//! Record batches, format v2 (KIP-98): decoded by borrowing, encoded.
//!
//! The way of a Fetch response's records field: [`Batches`] cuts it into [`RawBatch`]es and checks the CRC of each,
//! [`RawBatch::open`] takes the compression off, [`Batch::records`] lends the records one by one. A bad batch is one
//! error that names its offsets; the batches behind it are still read. Promised: at most one allocation per batch, none
//! per record, and no length from the wire ever sizes one. Absent: message formats 0 and 1, which are reported and
//! stepped over, and the request that fetched the bytes.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod batch;
mod encode;
mod frame;
mod header;

pub use crate::reader::ReadError;
pub use batch::{Batch, ControlType, Header, Headers, Record, RecordError, Records};
pub use encode::{EncodeError, EncodeOptions, Marker, NewRecord, Producer, Timestamps, encode_batch, encode_marker};
pub use frame::{BatchError, BatchFault, Batches, RawBatch};
pub use header::{BatchHeader, HeaderFault, TimestampType};
