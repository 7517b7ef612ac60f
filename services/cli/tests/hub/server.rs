//! A hub on loopback: its routes, and what may go wrong with them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use serde_json::{Value, json};

/// Files of so many bytes lie elsewhere, as large ones of the hub do.
const LARGE: usize = 100_000;

/// What the hub does with the requests whose path ends so.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answers so.
    Status(u16),
    /// Closes after so many bytes of the body.
    Cut(usize),
    /// Sends as many other bytes.
    OtherBytes,
    /// Sends more than it listed.
    More,
    /// Takes no heed of ranges.
    NoRanges,
    /// Answers with this.
    Body(Vec<u8>),
    /// Sends on to this URL.
    Elsewhere(String),
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// With the query.
    pub(crate) path: String,
    /// `Range`.
    pub(crate) range: Option<String>,
    /// `Authorization`.
    pub(crate) authorization: Option<String>,
    /// Whether the host of large files was asked.
    pub(crate) elsewhere: bool,
}

/// A running hub with one model, `tests/demo`, at revision `main` and at its commit.
pub(crate) struct Hub {
    /// `http://127.0.0.1:PORT`.
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
}

struct State {
    files: BTreeMap<String, Vec<u8>>,
    elsewhere: String,
    faults: Vec<(String, Fault)>,
    seen: Vec<Seen>,
}

/// The commit.
pub(crate) const COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

impl Hub {
    /// Serves the files of a folder, and some that no checkpoint is read from.
    pub(crate) fn of(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        collect(folder, "", &mut files);
        for other in [
            "README.md",
            ".gitattributes",
            "assets/clip.png",
            "transformer/diffusion_pytorch_model.bin",
            "transformer/diffusion_pytorch_model.fp16.safetensors",
            "text_encoder/pytorch_model.pt",
        ] {
            files.insert(other.to_owned(), b"not to be fetched".to_vec());
        }
        let [hub, elsewhere] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let endpoint = url(&hub);
        let state =
            State { files, elsewhere: url(&elsewhere), faults: Vec::new(), seen: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        for (listener, is_elsewhere) in [(hub, false), (elsewhere, true)] {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || answer(stream, &state, is_elsewhere));
                }
            });
        }
        Self { endpoint, state }
    }

    /// From now on, until [`Self::heal`].
    pub(crate) fn fail(&self, path: &str, fault: Fault) {
        self.state.lock().unwrap().faults.push((path.to_owned(), fault));
    }

    /// Takes all faults away.
    pub(crate) fn heal(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// Puts another file in a file's place.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        self.state.lock().unwrap().files.insert(path.to_owned(), bytes.to_vec());
    }

    /// The requests since the last time.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let (path, entry) = {
            let entry = entry.unwrap();
            (entry.path(), entry)
        };
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(path).unwrap());
        }
    }
}

/// SHA-256 of a file, in digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    digits(digest(&SHA256, bytes).as_ref())
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What git calls a file, in digits.
pub(crate) fn git_blob(bytes: &[u8]) -> String {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(format!("blob {}\0", bytes.len()).as_bytes());
    hash.update(bytes);
    digits(hash.finish().as_ref())
}

fn listing(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let sibling = |(path, bytes): (&String, &Vec<u8>)| -> Value {
        let mut sibling =
            json!({"rfilename": path, "size": bytes.len(), "blobId": git_blob(bytes)});
        if bytes.len() >= LARGE {
            sibling["lfs"] =
                json!({"sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134});
        }
        sibling
    };
    let siblings: Vec<_> = files.iter().map(sibling).collect();
    json!({"id": "tests/demo", "sha": COMMIT, "siblings": siblings}).to_string().into_bytes()
}

fn answer(stream: TcpStream, state: &Mutex<State>, elsewhere: bool) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        headers.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let seen = Seen {
        path: path.clone(),
        range: header("range"),
        authorization: header("authorization"),
        elsewhere,
    };
    let mut state = state.lock().unwrap();
    state.seen.push(seen.clone());
    let fault =
        state.faults.iter().find(|(end, _)| path.ends_with(end)).map(|(_, fault)| fault.clone());
    let resolved = format!("/tests/demo/resolve/{COMMIT}/");
    let (status, mut body, more) = match (path.strip_prefix(&resolved), elsewhere) {
        _ if path.starts_with("/api/models/tests/demo/revision/main?")
            || path.starts_with(&format!("/api/models/tests/demo/revision/{COMMIT}?")) =>
        {
            (200, listing(&state.files), String::new())
        }
        (Some(file), _) if state.files.contains_key(file) => {
            let bytes = state.files[file].clone();
            if !elsewhere && bytes.len() >= LARGE {
                (
                    302,
                    Vec::new(),
                    format!(
                        "Location: {}{path}\r\nX-Linked-ETag: \"{}\"\r\n",
                        state.elsewhere,
                        sha256(&bytes)
                    ),
                )
            } else {
                (200, bytes, format!("ETag: \"x\"\r\nX-Repo-Commit: {COMMIT}\r\n"))
            }
        }
        _ => (404, b"Not Found".to_vec(), String::new()),
    };
    drop(state);
    reply(stream, status, &mut body, more, fault, &seen);
}

fn reply(
    mut stream: TcpStream,
    mut status: u16,
    body: &mut Vec<u8>,
    mut more: String,
    fault: Option<Fault>,
    seen: &Seen,
) {
    let start = seen
        .range
        .as_ref()
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let mut cut = usize::MAX;
    let mut ranges = true;
    match fault {
        Some(Fault::Status(other)) => (status, *body) = (other, b"no".to_vec()),
        Some(Fault::OtherBytes) => body.iter_mut().for_each(|byte| *byte ^= 1),
        Some(Fault::More) => body.extend([0; 1000]),
        Some(Fault::Cut(length)) => cut = length,
        Some(Fault::NoRanges) => ranges = false,
        Some(Fault::Body(other)) => *body = other,
        Some(Fault::Elsewhere(url)) => (status, more) = (302, format!("Location: {url}\r\n")),
        None => {}
    }
    if let (200, true, Some(start)) = (status, ranges, start) {
        more += &format!("Content-Range: bytes {start}-{}/{}\r\n", body.len() - 1, body.len());
        body.drain(..start);
        status = 206;
    }
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    if status != 302 {
        let _ = stream.write_all(&body[..body.len().min(cut)]);
    }
}
