use std::fmt;
use std::path::Path;

use cogwheel_weights::Digest;

/// What a file of the cache is called: `VARIANT-DTYPE-DIGEST.safetensors`, both digests of 64 hexadecimal digits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileName {
    /// The variant.
    pub(super) id: String,
    /// Of the tensors, as safetensors names it.
    pub(super) dtype: String,
    /// Of the tensors' names, shapes and bytes.
    pub(super) digest: String,
}

impl FileName {
    /// Takes a name apart; `None` for a file that is no part of the cache.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".safetensors")?.split('-');
        let (id, dtype, digest) = (parts.next()?, parts.next()?, parts.next()?);
        let is_digest = |part: &str| part.parse::<Digest>().is_ok();
        let is_ours = parts.next().is_none()
            && is_digest(id)
            && is_digest(digest)
            && matches!(dtype, "F32" | "F16" | "BF16");
        is_ours.then(|| Self { id: id.into(), dtype: dtype.into(), digest: digest.into() })
    }

    /// Whether the file there has this name.
    pub(super) fn is_of(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == self.to_string().as_str())
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}.safetensors", self.id, self.dtype, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_files_are_no_names() {
        let (a, b) = ("a".repeat(64), "0".repeat(64));
        let name = format!("{a}-BF16-{b}.safetensors");
        assert_eq!(FileName::parse(&name).map(|name| name.to_string()), Some(name));
        for other in [
            "model.safetensors".to_owned(),
            format!("{a}-BF16-{b}"),
            format!("{a}-I64-{b}.safetensors"),
            format!("{a}-BF16-{b}-{b}.safetensors"),
            format!("{a}-BF16-{}.safetensors", "0".repeat(63)),
            format!("{}-BF16-{b}.safetensors", "A".repeat(64)),
        ] {
            assert_eq!(FileName::parse(&other), None, "{other}");
        }
    }
}
