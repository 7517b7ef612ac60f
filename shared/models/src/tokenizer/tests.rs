mod malformed;
mod reference;
mod safety;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{SENTENCEPIECE_FILE, Tokenizer, TokenizerError};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn demo_file(name: &str) -> Vec<u8> {
    std::fs::read(repository().join("demo/model/tokenizer").join(name)).unwrap()
}

/// The model that tools/reference/tokenizer.py trains: pieces of many scripts, no character map.
fn multilingual() -> Vec<u8> {
    std::fs::read(repository().join("tests/data/tokenizer/multilingual.model")).unwrap()
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn open(files: &[(&str, &[u8])], max_length: usize) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::open(folder(files).path(), max_length)
}

fn open_pieces(model: &[u8]) -> Result<Tokenizer, TokenizerError> {
    open(&[(SENTENCEPIECE_FILE, model)], 32)
}
