//! The four codecs, with an output cap.
