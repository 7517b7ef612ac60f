use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// No answer here takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser's connection: HTTP/1.1, byte for byte as it is sent.
#[derive(Debug)]
pub struct Http1 {
    stream: TcpStream,
    seen: Vec<u8>,
}

/// What came back until the server closed.
#[derive(Debug)]
pub struct Http1Answer {
    /// The status line and the headers, names in lower case.
    pub head: String,
    /// The body, out of its chunks.
    pub body: Vec<u8>,
}

impl Http1 {
    /// Connects to `HOST:PORT`.
    pub fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, seen: Vec::new() }
    }

    /// Sends a request with these further header lines; the host is localhost unless one is among them.
    pub fn send(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|header| header.starts_with("host:")) {
            head += "host: localhost\r\n";
        }
        for header in headers.iter().chain(&[&*format!("content-length: {}", body.len())]) {
            head += &format!("{header}\r\n");
        }
        self.stream.write_all(&[head.as_bytes(), b"\r\n", body].concat()).unwrap();
    }

    /// Reads until `text` has come.
    pub fn read_until(&mut self, text: &str) {
        let mut piece = [0; 4096];
        while !self.seen.windows(text.len()).any(|window| window == text.as_bytes()) {
            let length = self.stream.read(&mut piece).unwrap();
            assert!(length > 0, "no {text} in {:?}", String::from_utf8_lossy(&self.seen));
            self.seen.extend(&piece[..length]);
        }
    }

    /// Reads until the server closes.
    pub fn finish(mut self) -> Http1Answer {
        let mut bytes = self.seen;
        // A server that has no word of HTTP/1.1 may cut the connection; what came before it counts.
        let _ = self.stream.read_to_end(&mut bytes);
        let split = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let split = split.map_or(bytes.len(), |at| at + 4);
        let body = bytes.split_off(split);
        let head = String::from_utf8_lossy(&bytes).to_lowercase();
        let chunked = head.contains("transfer-encoding: chunked");
        Http1Answer { body: if chunked { unchunked(&body) } else { body }, head }
    }
}

impl Http1Answer {
    /// What `path` of `HOST:PORT` answers to a plain GET.
    pub fn get(address: &str, path: &str) -> Self {
        let mut connection = Http1::open(address);
        connection.send("GET", path, &["connection: close"], b"");
        connection.finish()
    }

    /// The status and the text.
    pub fn told(&self) -> (u16, String) {
        let status = self.head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_default(), String::from_utf8_lossy(&self.body).into_owned())
    }
}

/// Chunks without their sizes: the size in hexadecimal digits and the bytes, each with a line's end.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        whole.extend(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
    whole
}
