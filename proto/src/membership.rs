//! The life of a consumer group member (classic protocol).
