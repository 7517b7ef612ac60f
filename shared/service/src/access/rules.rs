use std::collections::BTreeSet;

use ring::digest::{SHA256, digest};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use super::Role;
use crate::config::{Entry, FileTables, Identity, Token};

/// Which tokens and which names in certificates stand for which roles.
#[derive(Default)]
pub(crate) struct Rules {
    tokens: Vec<Known<[u8; 32]>>,
    identities: Vec<Known<String>>,
}

struct Known<T> {
    name: String,
    /// SHA-256 of a token, or a name in a certificate.
    by: T,
    roles: Vec<Role>,
}

/// Somebody who was recognized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Caller {
    /// What logs call it.
    pub(super) name: String,
    pub(super) roles: Vec<Role>,
}

impl Rules {
    /// What the tables of a file say.
    ///
    /// # Errors
    /// What is wrong with one of them, and where it stands.
    pub(crate) fn of(tables: &mut FileTables) -> Result<Self, String> {
        let mut rules = Self::default();
        for Entry { place, value: Token { name, sha256, roles } } in tables.take() {
            let added = rules.add_token(&name, &sha256, &roles);
            added.map_err(|error| format!("{place}: tokens: {error}"))?;
        }
        for Entry { place, value: Identity { name, san, roles } } in tables.take() {
            let added = rules.add_identity(&name, &san, &roles);
            added.map_err(|error| format!("{place}: identities: {error}"))?;
        }
        Ok(rules)
    }

    /// Adds a token by the hexadecimal digits of its SHA-256.
    ///
    /// # Errors
    /// What is wrong with the digits or the roles; the digits are not told.
    pub(super) fn add_token(
        &mut self,
        name: &str,
        sha256: &str,
        roles: &[String],
    ) -> Result<(), String> {
        let by = digits(sha256).ok_or_else(|| {
            format!("sha256 of '{name}': expected 64 hexadecimal digits, found something else")
        })?;
        if self.tokens.iter().any(|known| known.by == by) {
            return Err(format!("sha256 of '{name}': expected a token that is not there yet"));
        }
        self.tokens.push(Known { name: name.to_owned(), by, roles: read(name, roles)? });
        Ok(())
    }

    /// Adds a name that a client's certificate may have.
    ///
    /// # Errors
    /// What is wrong with the name or the roles.
    pub(super) fn add_identity(
        &mut self,
        name: &str,
        san: &str,
        roles: &[String],
    ) -> Result<(), String> {
        if san.trim().is_empty() || san.contains('*') {
            return Err(format!("san of '{name}': expected a URI or a DNS name, found '{san}'"));
        }
        let by = canonical(san);
        if self.identities.iter().any(|known| known.by == by) {
            return Err(format!("san of '{name}': expected one that is not there yet"));
        }
        self.identities.push(Known { name: name.to_owned(), by, roles: read(name, roles)? });
        Ok(())
    }

    /// Whether nobody is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.identities.is_empty()
    }

    /// Whose token it is. The time that it takes does not depend on the token but on its length.
    pub(super) fn of_token(&self, token: &str) -> Option<Caller> {
        let hash = digest(&SHA256, token.as_bytes());
        let mut found = usize::MAX as u64;
        for (index, known) in self.tokens.iter().enumerate() {
            found.conditional_assign(&(index as u64), known.by.ct_eq(hash.as_ref()));
        }
        let known = usize::try_from(found).ok().and_then(|index| self.tokens.get(index))?;
        Some(Caller { name: known.name.clone(), roles: known.roles.clone() })
    }

    /// Whose certificate it is that has these names: all that are known count.
    pub(super) fn of_names(&self, names: &[String]) -> Option<Caller> {
        let names: BTreeSet<String> = names.iter().map(|name| canonical(name)).collect();
        let mut all = self.identities.iter().filter(|known| names.contains(&known.by));
        let first = all.next()?;
        let mut caller = Caller { name: first.name.clone(), roles: first.roles.clone() };
        caller.roles.extend(all.flat_map(|known| known.roles.iter().copied()));
        Some(caller)
    }
}

impl Caller {
    /// Whether it has one of these roles.
    pub(super) fn may(&self, needed: &[Role]) -> bool {
        self.roles.iter().any(|role| *role == Role::Admin || needed.contains(role))
    }
}

fn read(name: &str, roles: &[String]) -> Result<Vec<Role>, String> {
    if roles.is_empty() {
        return Err(format!("roles of '{name}': expected one at least, found none"));
    }
    let role = |role: &String| role.parse().map_err(|error| format!("roles of '{name}': {error}"));
    roles.iter().map(role).collect()
}

/// DNS names know no case; URIs are compared as they are.
fn canonical(san: &str) -> String {
    if san.contains("://") { san.to_owned() } else { san.to_ascii_lowercase() }
}

fn digits(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tokens: Vec<_> = self.tokens.iter().map(|known| &known.name).collect();
        let identities: Vec<_> = self.identities.iter().map(|known| &known.name).collect();
        f.debug_struct("Rules").field("tokens", &tokens).field("identities", &identities).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `secret`, as `printf secret | sha256sum` says it.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn words(roles: &[&str]) -> Vec<String> {
        roles.iter().map(|role| (*role).to_owned()).collect()
    }

    #[test]
    fn a_token_is_known_by_its_hash_alone() {
        let mut rules = Rules::default();
        assert!(rules.is_empty());
        rules.add_token("other", &"0".repeat(64), &words(&["admin"])).unwrap();
        rules.add_token("ci", &SECRET.to_uppercase(), &words(&["generate"])).unwrap();
        let caller = rules.of_token("secret").unwrap();
        assert_eq!(caller.name, "ci");
        assert!(caller.may(&[Role::Generate]) && !caller.may(&[Role::Adapters]));
        for wrong in ["", "Secret", "secret ", SECRET] {
            assert_eq!(rules.of_token(wrong), None, "{wrong:?}");
        }
        assert!(!format!("{rules:?}").contains("2bb8"));
    }

    #[test]
    fn a_certificate_is_known_by_any_of_its_names() {
        let mut rules = Rules::default();
        rules.add_identity("web", "spiffe://a/web", &words(&["generate"])).unwrap();
        rules.add_identity("ops", "Ops.example", &words(&["adapters"])).unwrap();
        let of = |names: &[&str]| rules.of_names(&words(names));
        assert_eq!(of(&["ops.EXAMPLE"]).unwrap().name, "ops");
        let both = of(&["spiffe://a/web", "ops.example", "unknown"]).unwrap();
        assert!(both.may(&[Role::Generate]) && both.may(&[Role::Adapters]));
        for unknown in [&["spiffe://a/WEB"][..], &["a.ops.example"], &["*.example"], &[]] {
            assert_eq!(of(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn administrators_may_everything() {
        let caller = Caller { name: String::new(), roles: vec![Role::Admin] };
        assert!(caller.may(&[Role::Stage]) && caller.may(&[Role::Admin]));
        let caller = Caller { name: String::new(), roles: vec![Role::Stage] };
        assert!(!caller.may(&[Role::Admin]));
    }

    #[test]
    fn rules_that_would_not_do_what_is_meant_are_refused() {
        let mut rules = Rules::default();
        let admin = words(&["admin"]);
        for digits in ["", "abc", &SECRET[..63], &"g".repeat(64), &format!("{SECRET}0")] {
            let told = rules.add_token("ci", digits, &admin).unwrap_err();
            assert!(told.starts_with("sha256 of 'ci': expected 64"), "{told}");
        }
        let told = rules.add_token("ci", SECRET, &words(&["root"])).unwrap_err();
        assert!(told.contains("roles of 'ci': expected a role"), "{told}");
        assert!(rules.add_token("ci", SECRET, &[]).unwrap_err().contains("found none"));
        rules.add_token("ci", SECRET, &admin).unwrap();
        assert!(rules.add_token("ci2", SECRET, &admin).unwrap_err().contains("not there yet"));
        for san in ["", " ", "*.example"] {
            assert!(rules.add_identity("web", san, &admin).is_err(), "{san:?}");
        }
    }
}
