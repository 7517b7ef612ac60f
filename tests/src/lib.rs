//! Fixtures of the behaviour tests.
