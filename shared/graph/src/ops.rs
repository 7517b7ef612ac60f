//! Operators as methods of [`crate::GraphBuilder`], one family a file.

pub(crate) mod attention;
pub(crate) mod attribute;
pub(crate) mod convolution;
mod elementwise;
mod linear;
mod loops;
mod normalization;
mod reduction;
mod shape;
