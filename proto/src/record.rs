//! Record batches, format v2: decoded by borrowing, encoded.
