//! The wire contract lives in this folder as `.proto` files. This crate is empty: its one test
//! generates the Rust code of `shared/api/src/generated` and compares, or writes it on `make proto`.
//! It is a crate of its own so that it still builds while that code does not.
