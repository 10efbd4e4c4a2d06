//! What a consumer reports, as one exhaustive enum.
