//! A writer that is killed at any moment: what it leaves is never served, and in nobody's way.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;

/// Where the child process writes.
const FOLDER: &str = "COGWHEEL_TEST_CACHE";
/// Enough that a file takes a while to write.
const BYTES: usize = 32 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn id() -> VariantId {
    VariantId::from_bytes([7; 32])
}

fn tensors() -> Vec<(String, Tensor)> {
    let values = (0..BYTES / 4).map(|i| (i % 1009) as f32);
    vec![("weight".to_owned(), Tensor::from_f32([BYTES / 4], values.collect()).unwrap())]
}

fn cache(folder: &Path) -> VariantCache {
    VariantCache::new(folder.to_path_buf(), u64::MAX, DType::F32).unwrap()
}

/// The child process: writes until it is killed. Alone it has nothing to do.
#[test]
#[ignore = "started by the test below, as a process of its own"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (cache, tensors) = (cache(Path::new(&folder)), tensors());
    loop {
        cache.write(&id(), &tensors).unwrap();
    }
}

fn start_writer(folder: &Path) -> Child {
    let test = "variants::cache::tests::writer";
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Bytes of the file that is being written; 0 where there is none.
fn written(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let partial = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PARTIAL));
    let length = |entry: fs::DirEntry| entry.path().join("tensors").metadata().ok();
    partial.filter_map(length).map(|metadata| metadata.len()).max().unwrap_or(0)
}

#[test]
fn what_a_writer_killed_at_any_moment_leaves_is_never_served_and_in_nobodys_way() {
    let names = ["weight".to_owned()];
    // At the first bytes, in the middle, near the end, and when a whole file is there and the next one is begun.
    for (from, whole) in [(1, 0), (BYTES / 3, 0), (BYTES / 10 * 9, 0), (1, 1), (BYTES / 2, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = start_writer(folder.path());
        let start = Instant::now();
        let is_time = || {
            let files = cache(folder.path()).find(&id()).iter().count();
            files >= whole && written(folder.path()) >= from as u64
        };
        while !is_time() {
            assert!(start.elapsed() < PATIENCE, "the writer never came so far");
            std::thread::yield_now();
        }
        writer.kill().unwrap();
        writer.wait().unwrap();

        // Killed in mid-write it leaves nothing under a name; but it may have come further meanwhile.
        let cache = cache(folder.path());
        let expected = tensors();
        if let Some(found) = cache.read(&id(), &names) {
            assert_eq!(found.tensor("weight").unwrap(), expected[0].1);
        } else {
            assert_eq!(whole, 0, "what was whole is there");
        }
        cache.write(&id(), &expected).unwrap();
        let found = cache.read(&id(), &names).unwrap();
        assert_eq!(found.tensor("weight").unwrap(), expected[0].1);
    }
}
