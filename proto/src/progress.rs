//! Which offset may be committed when records finish out of order.
