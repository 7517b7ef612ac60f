//! Frames in a server's words, which has no names for them, by the files that they came from.

use std::path::PathBuf;

use cogwheel_service::Fatal;

/// How a server begins what it says of a frame.
const FRAME: &str = "--video: frame ";

/// Where the frames of a video came from.
#[derive(Clone, Debug, Default)]
pub(crate) enum Frames {
    /// There are none.
    #[default]
    None,
    /// All of them from one file.
    Of(PathBuf),
    /// Each from a picture.
    Each(Vec<PathBuf>),
}

impl Frames {
    /// `fatal` with the file's name where it speaks of a frame.
    pub(crate) fn name(&self, mut fatal: Fatal) -> Fatal {
        if let Some(named) = self.named(&fatal.message) {
            fatal.message = named;
        }
        fatal
    }

    fn named(&self, message: &str) -> Option<String> {
        let (before, told) = message.split_once(FRAME)?;
        let (number, rest) = told.split_once(": ")?;
        let number: usize = number.parse().ok()?;
        match self {
            Self::None => None,
            Self::Of(file) => {
                Some(format!("{before}--video {}: frame {number}: {rest}", file.display()))
            }
            Self::Each(files) => {
                Some(format!("{before}--video {}: {rest}", files.get(number)?.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_told_by_its_file() {
        let told = |frames: &Frames, message: &str| frames.name(Fatal::usage(message)).message;
        let each = Frames::Each(vec!["a/0.png".into(), "a/1.png".into()]);
        let one = Frames::Of("a.gif".into());
        let message = "--width: odd; --video: frame 1: png: expected a whole file, found half";
        assert_eq!(
            told(&each, message),
            "--width: odd; --video a/1.png: png: expected a whole file, found half"
        );
        assert_eq!(
            told(&one, message),
            "--width: odd; --video a.gif: frame 1: png: expected a whole file, found half"
        );
        // What is said of no frame, or of one that there is not, stays.
        for message in ["--video: expected one", "--video: frame 2: x", "--video: frame x: y"] {
            assert_eq!(told(&each, message), message);
            assert_eq!(told(&Frames::None, message), message);
        }
    }
}
