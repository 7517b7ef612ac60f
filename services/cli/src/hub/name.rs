use std::fmt;
use std::str::FromStr;

/// Characters of an owner, a name, or a revision: what the hub takes.
const MAX_CHARS: usize = 96;

/// `OWNER/NAME`: a model as the hub calls it. As a part of a path it stays within its folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelName {
    owner: String,
    name: String,
}

/// A branch, tag or commit of a model. As a part of a path it stays within its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(String);

/// Why a text is no name or revision.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected {expected}, found '{found}'")]
pub struct NameError {
    expected: &'static str,
    found: String,
}

impl ModelName {
    /// What a checkpoint's folder would be called.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Revision {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a commit: nothing else has its name.
    pub fn is_commit(&self) -> bool {
        is_hex(&self.0, 40)
    }
}

impl FromStr for ModelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parts = text.split_once('/').filter(|(owner, name)| is_part(owner) && is_part(name));
        let (owner, name) = parts.ok_or_else(|| NameError {
            expected: "OWNER/NAME, each of letters, digits, single '-' and '.', and '_'",
            found: crate::shown::value(text).into_owned(),
        })?;
        Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
    }
}

impl FromStr for Revision {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= MAX_CHARS && text.split('/').all(is_part) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError {
            expected: "a branch, tag or commit",
            found: crate::shown::value(text).into_owned(),
        })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `--` stands for the slash in the cache's folders, `..` for another folder.
fn is_part(text: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_CHARS).contains(&text.len())
        && text.chars().all(is_known)
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
        && !text.contains("--")
        && !text.contains("..")
}

/// Whether it is so many lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_hub_are_read() {
        for text in ["zai-org/CogVideoX-2b", "zai-org/CogVideoX1.5-5B", "a/b", "A_b/c.d_e"] {
            assert_eq!(text.parse::<ModelName>().unwrap().to_string(), text);
        }
        for text in ["main", "v1.0", "refs/pr/1", "0123456789abcdef0123456789abcdef01234567"] {
            assert_eq!(text.parse::<Revision>().unwrap().as_str(), text);
        }
        assert!(
            "0123456789abcdef0123456789abcdef01234567".parse::<Revision>().unwrap().is_commit()
        );
        assert!(!"main".parse::<Revision>().unwrap().is_commit());
    }

    #[test]
    fn what_could_leave_its_folder_or_be_taken_for_another_is_no_name() {
        for text in [
            "", "/", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a/b..c", "./b", "a--b/c", "a/b--c",
            "a b/c", "a\\b/c", "é/b", "-a/b", "a/b\n",
        ] {
            assert!(text.parse::<ModelName>().is_err(), "{text:?}");
        }
        for text in
            ["", "..", "../x", "/etc", "a//b", "a/../b", "a b", "a?b", "a/", "a%2f", ".hidden"]
        {
            assert!(text.parse::<Revision>().is_err(), "{text:?}");
        }
        let long = format!("a/{}", "b".repeat(97));
        assert!(long.parse::<ModelName>().is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_one_folder_of_plain_characters(text in "[a-zA-Z0-9._/ -]{0,24}") {
            if let Ok(name) = text.parse::<ModelName>() {
                prop_assert_eq!(name.to_string(), text.clone());
                prop_assert!(!text.contains("..") && text.matches('/').count() == 1);
            }
        }
    }
}
