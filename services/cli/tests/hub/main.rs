//! Models of a hub on loopback: fetched into a cache of the test's own, and used by their names.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use server::{COMMIT, Fault, Hub, git_blob, sha256};

const WEIGHTS: &str = "transformer/diffusion_pytorch_model.safetensors";

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model")
}

/// A hub with the demo model, and a home of the hub's programs.
struct Setting {
    hub: Hub,
    home: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        Self { hub: Hub::of(&demo()), home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
        command
            .args(arguments)
            .env("HF_ENDPOINT", &self.hub.endpoint)
            .env("HF_HOME", self.home.path());
        for other in [
            "HF_HUB_CACHE",
            "HF_TOKEN",
            "HF_TOKEN_PATH",
            "http_proxy",
            "HTTP_PROXY",
            "all_proxy",
            "ALL_PROXY",
        ] {
            command.env_remove(other);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn pull(&self) -> Output {
        self.run(&["models", "pull", "tests/demo"])
    }

    fn model(&self) -> PathBuf {
        self.home.path().join("hub/models--tests--demo")
    }

    fn snapshot(&self) -> PathBuf {
        self.model().join("snapshots").join(COMMIT)
    }

    /// Names in the folder of contents.
    fn blobs(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.model().join("blobs")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[track_caller]
fn good(output: &Output) -> (String, String) {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    (String::from_utf8(output.stdout.clone()).unwrap(), told)
}

/// Ends with the code, in one last line that holds `expected`.
#[track_caller]
fn refused(output: &Output, code: i32, expected: &str) -> String {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{told}");
    let line = told.lines().last().unwrap();
    assert!(
        line.starts_with("error: ") && line.contains(expected),
        "expected '{expected}' in '{told}'"
    );
    told
}

#[test]
fn a_pull_brings_what_a_checkpoint_is_read_from_in_the_layout_of_the_hub() {
    let setting = Setting::new();
    let (stdout, told) = good(&setting.pull());
    assert_eq!(
        Path::new(stdout.trim()).canonicalize().unwrap(),
        setting.snapshot().canonicalize().unwrap()
    );
    assert!(told.contains("tests/demo at 89abcdef") && told.contains("CogVideoX"), "{told}");
    assert_eq!(fs::read_to_string(setting.model().join("refs/main")).unwrap(), COMMIT);
    // Small files are called as git calls them, large ones by their SHA-256.
    let config = fs::read(demo().join("transformer/config.json")).unwrap();
    let weights = fs::read(demo().join(WEIGHTS)).unwrap();
    for (path, bytes, digits) in [
        ("transformer/config.json", &config, git_blob(&config)),
        (WEIGHTS, &weights, sha256(&weights)),
    ] {
        let path = setting.snapshot().join(path);
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("../../../blobs").join(&digits));
        assert_eq!(&fs::read(path).unwrap(), bytes);
    }
    let index = fs::read_link(setting.snapshot().join("model_index.json")).unwrap();
    assert!(index.starts_with("../../blobs"), "{index:?}");
    let seen = setting.hub.seen();
    for other in ["README", "gitattributes", "png", ".bin", ".pt", "fp16", "B3SUMS"] {
        assert!(!seen.iter().any(|seen| seen.path.contains(other)), "{other}");
    }
    assert_eq!(seen.len(), 1 + 11 + seen.iter().filter(|seen| seen.elsewhere).count());
    assert!(seen.iter().any(|seen| seen.elsewhere));
}

#[test]
fn a_second_pull_fetches_nothing_and_a_changed_file_alone() {
    let setting = Setting::new();
    good(&setting.pull());
    setting.hub.seen();
    let (_, told) = good(&setting.pull());
    assert!(told.contains("nothing to fetch"), "{told}");
    assert_eq!(setting.hub.seen().len(), 1, "the list of files");
    let mut index = fs::read(demo().join("model_index.json")).unwrap();
    index.push(b'\n');
    setting.hub.put("model_index.json", &index);
    good(&setting.pull());
    let seen = setting.hub.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(fs::read(setting.snapshot().join("model_index.json")).unwrap(), index);
}

#[test]
fn a_cut_transfer_goes_on_where_it_was() {
    let setting = Setting::new();
    setting.hub.fail(WEIGHTS, Fault::Cut(70_000));
    let told = refused(
        &setting.pull(),
        1,
        "a second `cogwheel models pull tests/demo` goes on from there",
    );
    assert!(told.contains("cut after 70000 of"), "{told}");
    assert!(!setting.model().join("refs/main").exists(), "no name for what is not whole");
    assert!(!setting.snapshot().exists());
    setting.hub.seen();
    setting.hub.heal();
    good(&setting.pull());
    let seen = setting.hub.seen();
    let ranges: Vec<_> = seen
        .iter()
        .filter(|seen| seen.path.ends_with(WEIGHTS))
        .map(|seen| seen.range.as_deref())
        .collect();
    assert_eq!(ranges, [Some("bytes=70000-"); 2], "at the hub and where it sends");
    assert_eq!(
        fs::read(setting.snapshot().join(WEIGHTS)).unwrap(),
        fs::read(demo().join(WEIGHTS)).unwrap()
    );
    assert!(!setting.blobs().iter().any(|name| name.ends_with("incomplete")));
}

#[test]
fn a_server_without_ranges_sends_the_whole_again() {
    let setting = Setting::new();
    setting.hub.fail(WEIGHTS, Fault::Cut(70_000));
    refused(&setting.pull(), 1, "cut after 70000");
    setting.hub.heal();
    setting.hub.fail(WEIGHTS, Fault::NoRanges);
    good(&setting.pull());
    assert_eq!(
        fs::read(setting.snapshot().join(WEIGHTS)).unwrap(),
        fs::read(demo().join(WEIGHTS)).unwrap()
    );
}

#[test]
fn other_bytes_than_those_that_are_listed_never_stand_in_the_cache() {
    let weights = fs::read(demo().join(WEIGHTS)).unwrap();
    for (path, fault, expected) in [
        (WEIGHTS, Fault::OtherBytes, "expected SHA-256"),
        ("tokenizer/spiece.model", Fault::OtherBytes, "expected"),
        (WEIGHTS, Fault::More, "bytes, found"),
        ("transformer/config.json", Fault::Body(b"{}".to_vec()), "bytes, found 2 bytes"),
    ] {
        let setting = Setting::new();
        setting.hub.fail(path, fault);
        refused(&setting.pull(), 1, expected);
        assert!(!setting.blobs().contains(&sha256(&weights)) || path != WEIGHTS);
        assert!(!setting.snapshot().exists());
        setting.hub.heal();
        good(&setting.pull());
    }
    // What a broken transfer of another program has left is looked at too.
    let setting = Setting::new();
    fs::create_dir_all(setting.model().join("blobs")).unwrap();
    let part = setting.model().join("blobs").join(format!("{}.incomplete", sha256(&weights)));
    fs::write(&part, vec![1; 1000]).unwrap();
    refused(&setting.pull(), 1, "expected SHA-256");
    assert!(!part.exists());
    good(&setting.pull());
}

#[test]
fn what_the_hub_refuses_is_told_with_what_helps() {
    let setting = Setting::new();
    setting.hub.fail("blobs=true", Fault::Status(401));
    let told = refused(&setting.pull(), 1, "HF_TOKEN");
    assert!(
        told.contains("401") && told.contains(&format!("{}/tests/demo", setting.hub.endpoint)),
        "{told}"
    );
    setting.hub.heal();
    setting.hub.fail(WEIGHTS, Fault::Status(403));
    refused(&setting.pull(), 1, "403");
    setting.hub.heal();
    setting.hub.fail("blobs=true", Fault::Status(503));
    refused(&setting.pull(), 1, "found 503");
    setting.hub.heal();
    refused(&setting.run(&["models", "pull", "tests/other"]), 2, "found none");
    refused(
        &setting.run(&["models", "pull", "tests/demo", "--revision", "v2"]),
        2,
        "revision 'v2'",
    );
    setting.hub.fail("blobs=true", Fault::Body(b"<html>".to_vec()));
    refused(&setting.pull(), 1, "expected the hub's list of files");
    let mut nowhere = setting.command(&["models", "pull", "tests/demo"]);
    refused(
        &nowhere.env("HF_ENDPOINT", "http://127.0.0.1:1").output().unwrap(),
        1,
        "cannot reach http://127.0.0.1:1",
    );
    refused(&nowhere.env("HF_ENDPOINT", "hub").output().unwrap(), 2, "HF_ENDPOINT: expected a URL");
}

#[test]
fn names_that_are_none_are_bad_usage() {
    let setting = Setting::new();
    for name in ["demo", "a/b/c", "../demo", "a/..", "a--b/c", "https://h/a/b", "a/b?c"] {
        refused(&setting.run(&["models", "pull", name]), 2, "OWNER/NAME");
    }
    refused(
        &setting.run(&["models", "pull", "a/b", "--revision", "../x"]),
        2,
        "a branch, tag or commit",
    );
    assert!(setting.hub.seen().is_empty());
    assert_eq!(fs::read_dir(setting.home.path()).unwrap().count(), 0);
}

#[test]
fn the_token_goes_to_the_hub_alone_and_is_never_told() {
    let setting = Setting::new();
    let secret = "hf_sEcReT";
    let output = setting
        .command(&["models", "pull", "tests/demo"])
        .env("HF_TOKEN", secret)
        .output()
        .unwrap();
    let (stdout, told) = good(&output);
    assert!(!stdout.contains(secret) && !told.contains(secret));
    let expected = format!("Bearer {secret}");
    for seen in setting.hub.seen() {
        assert_eq!(seen.authorization.as_ref(), (!seen.elsewhere).then_some(&expected), "{seen:?}");
    }
    // From the file that `hf auth login` writes.
    fs::write(setting.home.path().join("token"), "hf_file\n").unwrap();
    good(&setting.pull());
    assert_eq!(setting.hub.seen()[0].authorization.as_deref(), Some("Bearer hf_file"));
    setting.hub.fail("blobs=true", Fault::Status(403));
    let told = refused(&setting.pull(), 1, "the one that is set was sent");
    assert!(!told.contains("hf_file"), "{told}");
    let odd = setting
        .command(&["models", "pull", "tests/demo"])
        .env("HF_TOKEN", "a\nb")
        .output()
        .unwrap();
    refused(&odd, 2, "HF_TOKEN: expected a token of visible");
}

#[test]
fn a_pulled_model_is_used_by_its_name_and_without_the_hub() {
    let setting = Setting::new();
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    let generate = |model: &str| {
        let arguments = [
            "generate",
            "--model",
            model,
            "--prompt",
            "a red circle",
            "--seed",
            "1",
            "--num-inference-steps",
            "2",
            "--num-frames",
            "9",
            "--output",
            clip.to_str().unwrap(),
        ];
        setting.command(&arguments).env("HF_ENDPOINT", "http://127.0.0.1:1").output().unwrap()
    };
    refused(&generate("tests/demo"), 2, "`cogwheel models pull tests/demo` fetches it");
    good(&setting.pull());
    good(&generate("tests/demo"));
    let beside = fs::read_to_string(format!("{}.json", clip.display())).unwrap();
    assert!(beside.contains(r#""model": "demo""#), "{beside}");
    let by_name = fs::read(&clip).unwrap();
    good(&generate(setting.snapshot().to_str().unwrap()));
    assert_eq!(fs::read(&clip).unwrap(), by_name);
    for arguments in [
        &["models", "show", "tests/demo"][..],
        &["doctor", "--listen", "127.0.0.1:0", "--model", "tests/demo"],
        &[
            "adapters",
            "show",
            demo().join("../adapters/neon").to_str().unwrap(),
            "--model",
            "tests/demo",
        ],
    ] {
        good(&setting.run(arguments));
    }
    refused(&setting.run(&["serve", "--model", "tests/none"]), 2, "models pull tests/none");
}

#[test]
fn a_folder_of_that_path_goes_before_the_cache() {
    let setting = Setting::new();
    good(&setting.pull());
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("tests/demo")).unwrap();
    let mut show = setting.command(&["models", "show", "tests/demo"]);
    refused(&show.current_dir(folder.path()).output().unwrap(), 2, "model_index.json");
}

#[test]
fn what_is_cached_is_listed() {
    let setting = Setting::new();
    let (none, _) = good(&setting.run(&["models", "list"]));
    assert!(none.contains("no checkpoint in"), "{none}");
    good(&setting.pull());
    // Another program's, which is no checkpoint, and one that is not whole.
    let other = setting.home.path().join("hub/models--a--b/snapshots").join(COMMIT);
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("config.json"), "{}").unwrap();
    let broken = setting.home.path().join("hub/models--a--c/snapshots").join(COMMIT);
    fs::create_dir_all(&broken).unwrap();
    fs::write(broken.join("model_index.json"), "{}").unwrap();
    let (text, _) = good(&setting.run(&["models", "list"]));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("a/c") && lines[0].contains("unfit"), "{text}");
    assert!(
        lines[1].starts_with("tests/demo")
            && lines[1].contains("89abcdef0123 (main)")
            && lines[1].contains(" sound"),
        "{text}"
    );
    let (json, _) = good(&setting.run(&["models", "list", "--json"]));
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rows[1]["name"], "tests/demo");
    assert_eq!(rows[1]["revisions"][0], "main");
    assert!(rows[1]["bytes"].as_u64().unwrap() > 1_000_000);
}

#[test]
fn the_folder_that_hf_hub_cache_names_is_used() {
    let setting = Setting::new();
    let folder = tempfile::tempdir().unwrap();
    let mut pull = setting.command(&["models", "pull", "tests/demo", "--revision", COMMIT]);
    let (stdout, _) = good(&pull.env("HF_HUB_CACHE", folder.path()).output().unwrap());
    assert!(Path::new(stdout.trim()).starts_with(folder.path()), "{stdout}");
    let model = folder.path().join("models--tests--demo");
    assert!(!model.join("refs").exists(), "a commit has no other name");
    assert!(model.join("snapshots").join(COMMIT).join("model_index.json").is_file());
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let setting = Setting::new();
    let file = setting.home.path().join("file");
    fs::write(&file, "").unwrap();
    let output = setting
        .command(&["models", "pull", "tests/demo"])
        .env("HF_HUB_CACHE", &file)
        .output()
        .unwrap();
    refused(&output, 1, file.to_str().unwrap());
}

#[test]
fn a_file_that_another_process_fetches_is_left_to_it() {
    let setting = Setting::new();
    let locks = setting.home.path().join("hub/.locks/models--tests--demo");
    fs::create_dir_all(&locks).unwrap();
    let weights = fs::read(demo().join(WEIGHTS)).unwrap();
    let lock = fs::File::create(locks.join(format!("{}.lock", sha256(&weights)))).unwrap();
    lock.lock().unwrap();
    refused(&setting.pull(), 1, "another process fetches it right now");
    drop(lock);
    good(&setting.pull());
}

#[cfg(unix)]
#[test]
fn an_interruption_ends_with_130_and_what_has_come_stays() {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    let setting = Setting::new();
    let weights = fs::read(demo().join(WEIGHTS)).unwrap();
    // A host that sends a part of the weights and then nothing more.
    let stalls = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = format!("http://{}/", stalls.local_addr().unwrap());
    setting.hub.fail(WEIGHTS, Fault::Elsewhere(elsewhere));
    let mut child = setting
        .command(&["models", "pull", "tests/demo"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stream, _) = stalls.accept().unwrap();
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", weights.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&weights[..50_000]).unwrap();
    let part = setting.model().join("blobs").join(format!("{}.incomplete", sha256(&weights)));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while fs::metadata(&part).map_or(0, |found| found.len()) < 50_000 {
        assert!(std::time::Instant::now() < deadline, "nothing was written");
        std::thread::yield_now();
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::metadata(&part).unwrap().len(), 50_000);
    setting.hub.heal();
    setting.hub.seen();
    good(&setting.pull());
    assert!(setting.hub.seen().iter().any(|seen| seen.range.as_deref() == Some("bytes=50000-")));
}
