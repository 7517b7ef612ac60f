use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cogwheel_tensor::Tensor;

use crate::Truncation;

/// Embeddings by model and text, the least recently used dropped where they would take more than a number of bytes.
///
/// Clones share their contents. It lives apart from the encoder, so that a prompt seen before needs no model: where
/// memory holds one stage at a time, the encoder is not loaded again for the usual negative prompt.
#[derive(Clone, Debug)]
pub struct EmbeddingCache {
    contents: Arc<Mutex<Contents>>,
}

/// What the cache holds of one text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CachedPrompt {
    /// [tokens, d_model], in memory of its own.
    pub(crate) embedding: Tensor,
    pub(crate) truncation: Option<Truncation>,
}

#[derive(Debug)]
struct Contents {
    capacity: usize,
    bytes: usize,
    /// Counts uses; the higher, the more recent.
    clock: u64,
    entries: HashMap<Key, (u64, CachedPrompt)>,
    by_use: BTreeMap<u64, Key>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    model: Arc<str>,
    text: Arc<str>,
}

impl EmbeddingCache {
    /// An empty cache of at most `capacity` bytes, texts included; 0 keeps nothing.
    pub fn new(capacity: usize) -> Self {
        let contents = Contents {
            capacity,
            bytes: 0,
            clock: 0,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
        };
        Self { contents: Arc::new(Mutex::new(contents)) }
    }

    /// Bytes held, texts included.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    pub(crate) fn get(&self, model: &str, text: &str) -> Option<CachedPrompt> {
        let mut contents = self.lock();
        let key = Key { model: model.into(), text: text.into() };
        contents.clock += 1;
        let now = contents.clock;
        let (used, prompt) = contents.entries.get_mut(&key)?;
        let (before, prompt) = (std::mem::replace(used, now), prompt.clone());
        contents.by_use.remove(&before);
        contents.by_use.insert(now, key);
        Some(prompt)
    }

    pub(crate) fn insert(&self, model: &str, text: &str, prompt: CachedPrompt) {
        let mut contents = self.lock();
        let key = Key { model: model.into(), text: text.into() };
        let size = size(&key, &prompt);
        if size > contents.capacity {
            return;
        }
        contents.remove(&key);
        while contents.bytes + size > contents.capacity {
            let Some((_, oldest)) = contents.by_use.first_key_value() else { break };
            let oldest = oldest.clone();
            contents.remove(&oldest);
        }
        contents.clock += 1;
        let now = contents.clock;
        contents.bytes += size;
        contents.by_use.insert(now, key.clone());
        contents.entries.insert(key, (now, prompt));
    }

    /// Nothing in here can panic half way, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn remove(&mut self, key: &Key) {
        if let Some((used, prompt)) = self.entries.remove(key) {
            self.bytes -= size(key, &prompt);
            self.by_use.remove(&used);
        }
    }
}

fn size(key: &Key, prompt: &CachedPrompt) -> usize {
    key.model.len() + key.text.len() + prompt.embedding.bytes().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(value: f32) -> CachedPrompt {
        let embedding = Tensor::from_f32([2, 2], vec![value; 4]).unwrap();
        CachedPrompt { embedding, truncation: None }
    }

    #[test]
    fn what_was_used_least_recently_goes_first() {
        // 16 bytes of embedding and 2 of names each.
        let cache = EmbeddingCache::new(3 * 18);
        for (text, value) in [("a", 1.0), ("b", 2.0), ("c", 3.0)] {
            cache.insert("m", text, prompt(value));
        }
        assert_eq!(cache.bytes(), 3 * 18);
        assert_eq!(cache.get("m", "a"), Some(prompt(1.0)));
        cache.insert("m", "d", prompt(4.0));
        assert_eq!(cache.get("m", "b"), None);
        for (text, value) in [("a", 1.0), ("c", 3.0), ("d", 4.0)] {
            assert_eq!(cache.get("m", text), Some(prompt(value)), "{text}");
        }
    }

    #[test]
    fn a_text_is_another_for_another_model() {
        let cache = EmbeddingCache::new(1000);
        cache.insert("m", "a", prompt(1.0));
        assert_eq!(cache.get("n", "a"), None);
    }

    #[test]
    fn a_text_put_in_again_is_held_once() {
        let cache = EmbeddingCache::new(1000);
        cache.insert("m", "a", prompt(1.0));
        cache.insert("m", "a", prompt(2.0));
        assert_eq!(cache.bytes(), 18);
        assert_eq!(cache.get("m", "a"), Some(prompt(2.0)));
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept_and_displaces_nothing() {
        let cache = EmbeddingCache::new(20);
        cache.insert("m", "a", prompt(1.0));
        cache.insert("m", "a long text", prompt(2.0));
        assert_eq!(cache.get("m", "a long text"), None);
        assert_eq!(cache.get("m", "a"), Some(prompt(1.0)));
        let none = EmbeddingCache::new(0);
        none.insert("m", "a", prompt(1.0));
        assert_eq!(none.bytes(), 0);
    }
}
