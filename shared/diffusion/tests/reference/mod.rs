//! The stored reference values: `tests/data/{name}.safetensors`, made by `tools/reference/{name}.py`.
#![allow(dead_code, reason = "each test binary reads the dtypes it needs")]

use std::collections::HashMap;
use std::path::Path;

use half::{bf16, f16};
use safetensors::SafeTensors;

/// A file of reference values, every tensor as its bytes.
pub(crate) struct Reference(HashMap<String, Vec<u8>>);

impl Reference {
    pub(crate) fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../../tests/data/{name}.safetensors"));
        let bytes =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = SafeTensors::deserialize(&bytes).expect("a file of our own making");
        Self(file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect())
    }

    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        self.0.get(name).unwrap_or_else(|| panic!("no reference tensor {name}"))
    }

    fn values<const N: usize, T>(&self, name: &str, read: fn([u8; N]) -> T) -> Vec<T> {
        let (values, rest) = self.bytes(name).as_chunks::<N>();
        assert!(rest.is_empty(), "{name} is of another dtype");
        values.iter().copied().map(read).collect()
    }

    pub(crate) fn f64(&self, name: &str) -> Vec<f64> {
        self.values(name, f64::from_le_bytes)
    }

    pub(crate) fn f32(&self, name: &str) -> Vec<f32> {
        self.values(name, f32::from_le_bytes)
    }

    pub(crate) fn f16(&self, name: &str) -> Vec<f16> {
        self.values(name, f16::from_le_bytes)
    }

    pub(crate) fn bf16(&self, name: &str) -> Vec<bf16> {
        self.values(name, bf16::from_le_bytes)
    }

    pub(crate) fn i64(&self, name: &str) -> Vec<i64> {
        self.values(name, i64::from_le_bytes)
    }
}
