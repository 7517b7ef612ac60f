use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::tokenizer::added_tokens::{TokenFields, from_value};
use crate::tokenizer::{TokenizerError, file};

const CONFIG_FILE: &str = "tokenizer_config.json";
const SPECIAL_TOKENS_FILE: &str = "special_tokens_map.json";
const ADDED_TOKENS_FILE: &str = "added_tokens.json";
/// Those of T5 have 20 kB.
const MAX_BYTES: u64 = 4 << 20;

/// transformers' `SPECIAL_TOKENS_ATTRIBUTES` with the defaults of `T5Tokenizer`. The order decides the ids of tokens that
/// are new to the vocabulary.
const NAMED_TOKENS: [(&str, Option<&str>); 7] = [
    ("bos_token", None),
    ("eos_token", Some("</s>")),
    ("unk_token", Some("<unk>")),
    ("sep_token", None),
    ("pad_token", Some("<pad>")),
    ("cls_token", None),
    ("mask_token", None),
];

/// Tokens by id, as `added_tokens_decoder` or the older files list them.
pub(super) type ListedTokens = BTreeMap<i64, AddedToken>;

/// The values of `tokenizer_config.json`, and those of the older files merged into them.
pub(super) struct Reader {
    path: PathBuf,
    values: Map<String, Value>,
    /// Tokens under names of the model's own.
    own_names: Map<String, Value>,
}

impl Reader {
    /// Reads the files in `dir`. Where `added_tokens_decoder` is there it is the whole list, and the older files are not read.
    pub(super) fn read(
        dir: &Path,
        of_vocabulary: &ListedTokens,
    ) -> Result<(Self, ListedTokens), TokenizerError> {
        let path = dir.join(CONFIG_FILE);
        let values: Map<String, Value> = file::read_json(&path, MAX_BYTES)?.unwrap_or_default();
        let mut reader = Self { path, values, own_names: Map::new() };
        if is_falsy(reader.values.get("extra_special_tokens"))
            && let Some(tokens) = reader.values.shift_remove("additional_special_tokens")
        {
            reader.values.insert("extra_special_tokens".into(), tokens);
        }
        let own =
            reader.values.iter().filter(|(name, value)| is_own_name(name) && value.is_string());
        reader.own_names = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        reader.values.retain(|name, value| !is_own_name(name) || !value.is_string());
        reader.take_extra_by_name();
        let listed = match reader.listed_tokens()? {
            Some(listed) => listed,
            None => reader.legacy_tokens(dir, of_vocabulary)?,
        };
        Ok((reader, listed))
    }

    pub(super) fn unfit(&self, key: &str, expected: &str, found: String) -> TokenizerError {
        TokenizerError::unfit(&self.path, format!("{key}: {expected}"), found)
    }

    /// The value of a key that may be absent or null.
    pub(super) fn get<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, TokenizerError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| self.unfit(key, expected, kind_of(value).into())),
        }
    }

    /// The tokens that have names, those of transformers first, with the flags they are listed with.
    pub(super) fn named_tokens(
        &self,
        listed: &ListedTokens,
    ) -> Result<Vec<(String, AddedToken)>, TokenizerError> {
        let mut named = Vec::new();
        for (name, default) in NAMED_TOKENS {
            let token = match (self.values.get(name), default) {
                (Some(Value::Null), _) | (None, None) => continue,
                (Some(value), _) => self.token(name, value)?,
                (None, Some(default)) => AddedToken::from(default, true),
            };
            let with_flags = listed.values().rfind(|listed| listed.content == token.content);
            named.push((name.to_owned(), with_flags.cloned().unwrap_or(token)));
        }
        let mut own: Map<String, Value> = self
            .values
            .iter()
            .filter(|(name, value)| is_own_name(name) && from_value(value).is_some())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        own.extend(self.own_names.clone());
        for (name, value) in own {
            let token = self.token(&name, &value)?;
            named.push((name, token));
        }
        Ok(named)
    }

    /// The further special tokens: `extra_special_tokens` where the settings have it, else those marked in the vocabulary and
    /// the extra ids.
    pub(super) fn extra_tokens(
        &self,
        marked: Option<Vec<AddedToken>>,
        extra_ids: &[String],
    ) -> Result<Vec<AddedToken>, TokenizerError> {
        const KEY: &str = "additional_special_tokens";
        let additional = match marked {
            Some(marked) => Some(marked),
            None => self
                .get(KEY, "a list", Value::as_array)?
                .map(|list| self.tokens(KEY, list))
                .transpose()?,
        };
        let count = additional
            .iter()
            .flatten()
            .filter(|token| token.content.contains("<extra_id_"))
            .count();
        if count > 0 && !extra_ids.is_empty() && count != extra_ids.len() {
            let expected = format!("{} among the special tokens", extra_ids.len());
            return Err(self.unfit("extra_ids", &expected, count.to_string()));
        }
        if self.values.contains_key("extra_special_tokens") {
            let list = self.get("extra_special_tokens", "a list", Value::as_array)?;
            return self.tokens("extra_special_tokens", list.map_or(&[], Vec::as_slice));
        }
        let mut tokens = additional.unwrap_or_default();
        if count == 0 {
            tokens.extend(extra_ids.iter().map(|token| AddedToken::from(token, true)));
        }
        Ok(tokens)
    }

    fn token(&self, key: &str, value: &Value) -> Result<AddedToken, TokenizerError> {
        from_value(value).ok_or_else(|| {
            self.unfit(key, "a token as text or with its flags", kind_of(value).into())
        })
    }

    fn tokens(&self, key: &str, list: &[Value]) -> Result<Vec<AddedToken>, TokenizerError> {
        list.iter().map(|value| self.token(key, value)).collect()
    }

    fn listed_tokens(&self) -> Result<Option<ListedTokens>, TokenizerError> {
        const KEY: &str = "added_tokens_decoder";
        let Some(tokens) = self.get(KEY, "tokens by id", Value::as_object)? else {
            return Ok(None);
        };
        let listed = tokens.iter().map(|(id, value)| {
            let id = id.parse().map_err(|_| self.unfit(KEY, "ids as keys", format!("{id:?}")))?;
            let token = TokenFields::deserialize(value)
                .map_err(|error| self.unfit(KEY, "tokens", error.to_string()))?;
            Ok((id, token.into()))
        });
        listed.collect::<Result<_, _>>().map(Some)
    }

    /// Merges `special_tokens_map.json` into the values; lists `added_tokens.json` and the tokens of a `tokenizer.json`.
    fn legacy_tokens(
        &mut self,
        dir: &Path,
        of_vocabulary: &ListedTokens,
    ) -> Result<ListedTokens, TokenizerError> {
        let special: Option<Map<String, Value>> =
            file::read_json(&dir.join(SPECIAL_TOKENS_FILE), MAX_BYTES)?;
        for (key, mut value) in special.unwrap_or_default() {
            match (&mut value, self.values.get(&key)) {
                (Value::Object(token), _) if key != "extra_special_tokens" => mark_special(token),
                (Value::Array(list), existing) if key == "extra_special_tokens" => {
                    list.iter_mut().filter_map(Value::as_object_mut).for_each(mark_special);
                    list.splice(
                        0..0,
                        existing.and_then(Value::as_array).cloned().unwrap_or_default(),
                    );
                }
                _ => {}
            }
            self.values.insert(key, value);
        }
        self.take_extra_by_name();

        let added: Option<BTreeMap<String, i64>> =
            file::read_json(&dir.join(ADDED_TOKENS_FILE), MAX_BYTES)?;
        let names = NAMED_TOKENS.iter().filter_map(|(name, _)| self.values.get(*name));
        let extra =
            self.values.get("extra_special_tokens").and_then(Value::as_array).into_iter().flatten();
        let special: Vec<AddedToken> = names.chain(extra).filter_map(from_value).collect();
        let mut listed: ListedTokens = added
            .unwrap_or_default()
            .into_iter()
            .map(|(content, id)| {
                let is_special = special.iter().any(|token| token.content == content);
                (id, AddedToken::from(content, is_special))
            })
            .collect();
        listed.extend(of_vocabulary.iter().map(|(id, token)| (*id, token.clone())));
        Ok(listed)
    }

    /// `extra_special_tokens` may give names to its tokens; then it is no list any more.
    fn take_extra_by_name(&mut self) {
        if let Some(Value::Object(_)) = self.values.get("extra_special_tokens")
            && let Some(Value::Object(tokens)) = self.values.shift_remove("extra_special_tokens")
        {
            self.own_names.extend(tokens);
        }
    }
}

/// Whether a key names a token of the model's own, such as `image_token`.
fn is_own_name(key: &str) -> bool {
    key.ends_with("_token") && NAMED_TOKENS.iter().all(|(name, _)| *name != key)
}

fn mark_special(token: &mut Map<String, Value>) {
    token.insert("special".into(), Value::Bool(true));
}

/// What Python takes for false.
fn is_falsy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
