#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::*;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn demo(name: &str) -> Vec<u8> {
    let folder = root().join("demo/adapters").join(name);
    std::fs::read(folder.join("pytorch_lora_weights.safetensors")).unwrap()
}

fn adapters(byte_limit: u64) -> Adapters {
    let config = TransformerConfig::read(&root().join("demo/model/transformer/config.json"));
    Adapters::new(&config.unwrap(), byte_limit).unwrap()
}

/// Folders of adapters that are kept.
fn kept(adapters: &Adapters) -> usize {
    let entries = std::fs::read_dir(adapters.folder.path()).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
}

fn digest(bytes: &[u8]) -> String {
    cogwheel_weights::Digest::of(bytes).to_string()
}

fn put(adapters: &Adapters, digest: &str, bytes: &[u8]) -> Result<(), PutError> {
    let mut incoming = adapters.receive(bytes.len() as u64, 0)?;
    for piece in bytes.chunks(1000) {
        assert!(incoming.write(piece).unwrap());
    }
    assert_eq!(incoming.missing(), 0);
    adapters.keep(digest, incoming)
}

#[test]
fn what_was_put_is_there_under_its_digest() {
    let (adapters, bytes) = (adapters(1 << 30), demo("neon"));
    assert!(adapters.get(&digest(&bytes)).is_none());
    put(&adapters, &digest(&bytes), &bytes).unwrap();
    assert_eq!(adapters.get(&digest(&bytes)).unwrap().digest().to_string(), digest(&bytes));
}

#[test]
fn other_bytes_than_announced_are_refused_and_leave_nothing() {
    let (adapters, bytes) = (adapters(1 << 30), demo("neon"));
    let other = digest(b"other");
    assert!(matches!(put(&adapters, &other, &bytes), Err(PutError::Digest { .. })));
    let cut = &bytes[..bytes.len() / 2];
    assert!(matches!(put(&adapters, &digest(cut), cut), Err(PutError::Adapter(_))));
    assert!(adapters.get(&other).is_none());
    assert_eq!(kept(&adapters), 0);
}

#[test]
fn more_bytes_than_announced_find_no_room() {
    let adapters = adapters(100);
    let mut incoming = adapters.receive(3, 2).unwrap();
    assert!(incoming.write(b"ab").unwrap());
    assert_eq!(incoming.missing(), 3);
    assert!(incoming.write(b"cde").unwrap());
    assert!(!incoming.write(b"f").unwrap());
    assert!(matches!(adapters.receive(100, 1), Err(PutError::TooLarge { bytes: 101, limit: 100 })));
    assert!(matches!(adapters.receive(u64::MAX, 1), Err(PutError::TooLarge { .. })));
}

#[test]
fn past_the_bound_the_one_not_used_the_longest_is_let_go_and_whoever_has_it_keeps_it() {
    let (first, second) = (demo("neon"), demo("bounce"));
    let adapters = adapters((first.len() + second.len() - 1) as u64);
    put(&adapters, &digest(&first), &first).unwrap();
    let held = adapters.get(&digest(&first)).unwrap();
    put(&adapters, &digest(&second), &second).unwrap();
    assert!(adapters.get(&digest(&first)).is_none());
    assert!(adapters.get(&digest(&second)).is_some());
    assert!(!held.targets().is_empty());
    assert_eq!(kept(&adapters), 1);
}
