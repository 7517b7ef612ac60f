//! The pictures of a folder that stand for a video.

use std::cmp::Ordering;
use std::io;
use std::path::{Path, PathBuf};

/// Endings of pictures' names; whatever else lies in the folder is none.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// The pictures in the order of their names. Hidden files are none: some systems leave one beside each picture, such as
/// `._00000.png`.
///
/// # Errors
/// What the system says.
pub(super) fn pictures(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is_picture = ENDINGS.iter().any(|picture| ending.eq_ignore_ascii_case(picture));
        if is_picture && !name(&path).starts_with('.') {
            pictures.push(path);
        }
    }
    pictures.sort_by_cached_key(|path| Name(name(path)));
    Ok(pictures)
}

#[derive(PartialEq, Eq)]
struct Name(String);

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        in_order(&self.0, &other.0)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Numbers within names count by their value: 2.png comes before 10.png.
fn in_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let digits =
            |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match (digits(left), digits(right)) {
            (0, 0) => {
                let (mut rest_left, mut rest_right) = (left.chars(), right.chars());
                match (rest_left.next(), rest_right.next()) {
                    (Some(x), Some(y)) if x == y => {
                        (left, right) = (rest_left.as_str(), rest_right.as_str())
                    }
                    (x, y) => return x.cmp(&y).then_with(|| a.cmp(b)),
                }
            }
            (0, _) | (_, 0) => return left.cmp(right),
            (x, y) => {
                let value = |text: &str| text.trim_start_matches('0').to_owned();
                let (p, q) = (value(&left[..x]), value(&right[..y]));
                let order = p.len().cmp(&q.len()).then_with(|| p.cmp(&q));
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (&left[x..], &right[y..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_the_numbers_in_them() {
        let sorted = [
            "a",
            "a1.png",
            "a02.png",
            "a2.png",
            "a10.png",
            "a10b.png",
            "b",
            "b-0",
            "b-00000000000000000000000",
            "b-1",
        ];
        let mut names = sorted.to_vec();
        names.reverse();
        names.sort_by(|a, b| in_order(a, b));
        assert_eq!(names, sorted);
    }

    #[test]
    fn hidden_files_are_no_pictures() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["10.png", "9.PNG", "._9.PNG", ".10.png", ".png", "cogwheel.json", "notes.txt"]
        {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let names: Vec<_> =
            pictures(folder.path()).unwrap().iter().map(|path| name(path)).collect();
        assert_eq!(names, ["9.PNG", "10.png"]);
    }
}
