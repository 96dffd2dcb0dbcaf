//! Keeps materialized views true.
