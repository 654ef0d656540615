//! The journal's own disk: full, read-only, torn.
