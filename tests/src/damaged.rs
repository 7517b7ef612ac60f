use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A copy of a checkpoint of the tests, to be damaged.
#[derive(Debug)]
pub struct DamagedCheckpoint(TempDir);

impl DamagedCheckpoint {
    /// Copies a checkpoint's folder.
    pub fn copy_of(checkpoint: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        copy(checkpoint, folder.path());
        Self(folder)
    }

    /// The copy's folder.
    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    /// A file of the copy.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir().join(file)
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).unwrap();
    }

    /// Keeps only the first `bytes` of a file.
    pub fn truncate(&self, file: &str, bytes: u64) {
        let file = fs::OpenOptions::new().write(true).open(self.path(file)).unwrap();
        file.set_len(bytes).unwrap();
    }

    /// Changes a JSON file.
    pub fn edit(&self, file: &str, change: impl FnOnce(&mut serde_json::Value)) {
        let mut json = serde_json::from_slice(&fs::read(self.path(file)).unwrap()).unwrap();
        change(&mut json);
        fs::write(self.path(file), json.to_string()).unwrap();
    }

    /// Changes the header of a safetensors file, its data left as they are.
    pub fn edit_header(&self, file: &str, change: impl FnOnce(&mut serde_json::Value)) {
        let bytes = fs::read(self.path(file)).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let (header, data) = bytes[8..].split_at(usize::try_from(length).unwrap());
        let mut header = serde_json::from_slice(header).unwrap();
        change(&mut header);
        let header = header.to_string().into_bytes();
        let length = u64::try_from(header.len()).unwrap().to_le_bytes();
        fs::write(self.path(file), [&length, &header[..], data].concat()).unwrap();
    }

    /// Sets every element of a tensor of floats to not-a-number.
    pub fn fill_with_nan(&self, file: &str, tensor: &str) {
        let mut bytes = fs::read(self.path(file)).unwrap();
        let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let offsets = &header[tensor]["data_offsets"];
        let [start, end] =
            [0, 1].map(|i| 8 + length + usize::try_from(offsets[i].as_u64().unwrap()).unwrap());
        // The pattern is a NaN in fp32, fp16 and bf16.
        bytes[start..end].fill(0xff);
        fs::write(self.path(file), bytes).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
