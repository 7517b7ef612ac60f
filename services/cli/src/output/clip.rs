use std::path::{Path, PathBuf};

use cogwheel_api::generation::v1::ArtifactHeader;

use super::WriteError;
use super::pending::PendingFile;

/// One file of an announced length, e.g. an MP4.
#[derive(Debug)]
pub(super) struct Clip {
    file: PendingFile,
    announced: Option<u64>,
    received: u64,
}

impl Clip {
    /// Starts the file.
    pub(super) fn create(path: &Path) -> Result<Self, WriteError> {
        let file = PendingFile::create(path)
            .map_err(|source| WriteError::Io { path: path.to_path_buf(), source })?;
        Ok(Self::new(file))
    }

    pub(super) fn new(file: PendingFile) -> Self {
        Self { file, announced: None, received: 0 }
    }

    /// Takes the header, once. The name in it is the server's affair.
    pub(super) fn start(&mut self, header: &ArtifactHeader) -> Result<(), WriteError> {
        if self.announced.is_some() {
            return Err(WriteError::contract("one file", format!("a second, '{}'", header.name)));
        }
        self.announced = Some(header.byte_length);
        Ok(())
    }

    /// Writes the next bytes.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), WriteError> {
        let announced = self.announced.unwrap_or(0);
        self.received += chunk.len() as u64;
        if self.received > announced {
            return Err(self.length());
        }
        self.file.write(chunk)
    }

    /// Whether every announced byte is there.
    pub(super) fn is_whole(&self) -> bool {
        self.announced == Some(self.received)
    }

    /// Puts the whole file in its place.
    pub(super) fn finish(self) -> Result<PathBuf, WriteError> {
        if self.is_whole() { self.file.commit() } else { Err(self.length()) }
    }

    fn length(&self) -> WriteError {
        match self.announced {
            Some(announced) => {
                let found = format!("{} bytes", self.received);
                WriteError::contract(format!("a file of {announced} bytes"), found)
            }
            None => WriteError::contract("a file's header", "its bytes or its end"),
        }
    }
}
