//! The rules of `src/ARCHITECTURE.md` as tests.
