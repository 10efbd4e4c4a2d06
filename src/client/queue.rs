//! A bounded queue of fetched batches per partition.
