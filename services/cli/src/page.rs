//! The page that `cogwheel serve` gives to browsers: plain HTML, CSS and JavaScript modules in
//! `page/`, as they are, in the binary.

use std::net::SocketAddr;

use cogwheel_service::{Page, PageFile};

/// The page.
pub(crate) const PAGE: Page = Page(&[
    PageFile { path: "/", media_type: HTML, text: include_str!("page/index.html") },
    PageFile { path: "/style.css", media_type: CSS, text: include_str!("page/style.css") },
    PageFile { path: "/icon.svg", media_type: SVG, text: include_str!("page/icon.svg") },
    PageFile { path: "/app.js", media_type: JS, text: include_str!("page/app.js") },
    PageFile { path: "/files.js", media_type: JS, text: include_str!("page/files.js") },
    PageFile { path: "/form.js", media_type: JS, text: include_str!("page/form.js") },
    PageFile { path: "/generation.js", media_type: JS, text: include_str!("page/generation.js") },
    PageFile { path: "/grpcweb.js", media_type: JS, text: include_str!("page/grpcweb.js") },
    PageFile { path: "/history.js", media_type: JS, text: include_str!("page/history.js") },
    PageFile { path: "/messages.js", media_type: JS, text: include_str!("page/messages.js") },
    PageFile { path: "/preview.js", media_type: JS, text: include_str!("page/preview.js") },
    PageFile { path: "/progress.js", media_type: JS, text: include_str!("page/progress.js") },
    PageFile { path: "/source.js", media_type: JS, text: include_str!("page/source.js") },
    PageFile { path: "/token.js", media_type: JS, text: include_str!("page/token.js") },
    PageFile { path: "/wire.js", media_type: JS, text: include_str!("page/wire.js") },
]);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JS: &str = "text/javascript; charset=utf-8";

/// Where a browser on this machine finds the page of a server that listens on `address`.
pub(crate) fn url(address: SocketAddr, secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    match address.ip().is_unspecified() {
        true => format!("{scheme}://localhost:{}/", address.port()),
        false => format!("{scheme}://{address}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module that is not embedded would be missing in browsers alone.
    #[test]
    fn every_file_of_the_folder_is_part_of_the_page_and_needs_nobody_else() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        let of_path = |path: &str| match path {
            "/" => "index.html".to_owned(),
            path => path[1..].to_owned(),
        };
        let mut embedded: Vec<_> = PAGE.0.iter().map(|file| of_path(file.path)).collect();
        names.sort();
        embedded.sort();
        assert_eq!(embedded, names);
        for file in PAGE.0 {
            for line in file.text.lines().filter(|line| line.contains("://")) {
                let named = line.contains("xmlns=") || line.trim_start().starts_with("//");
                assert!(named, "{}: {line}", file.path);
            }
        }
    }

    #[test]
    fn the_url_is_one_that_this_machine_can_open() {
        let url = |address: &str| url(address.parse().unwrap(), false);
        assert_eq!(url("127.0.0.1:5"), "http://127.0.0.1:5/");
        assert_eq!(url("0.0.0.0:5"), "http://localhost:5/");
        assert_eq!(url("[::1]:5"), "http://[::1]:5/");
        assert_eq!(super::url("0.0.0.0:5".parse().unwrap(), true), "https://localhost:5/");
    }
}
