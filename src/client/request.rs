//! One file per exchange with a broker.
