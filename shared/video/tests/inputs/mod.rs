//! Files in tests/data/inputs, made by tools/reference/inputs.py, and what Pillow and FFmpeg see in them.

use std::path::PathBuf;

use cogwheel_video::FrameSize;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/inputs").join(name)
}

pub(crate) fn file(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Names of the files in a folder, without those of expectations.
#[allow(dead_code, reason = "not every test file goes through a folder")]
pub(crate) fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path(folder)).expect("the folder is there");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("plain names"))
        .filter(|name| !name.ends_with(".expected.png"))
        .map(|name| format!("{folder}/{name}"))
        .collect();
    names.sort();
    assert!(names.len() > 10, "{folder} has {names:?}");
    names
}

/// The picture that a file shows, or the frames of a video one below the other; none for what must be refused.
#[allow(dead_code, reason = "not every test file compares")]
pub(crate) fn expected(name: &str) -> Option<(FrameSize, Vec<u8>)> {
    let file = std::fs::File::open(path(&format!("{name}.expected.png"))).ok()?;
    let mut decoder = png::Decoder::new(std::io::BufReader::new(file));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().expect("a PNG file");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut bytes).expect("a whole PNG file");
    let rgb = match info.color_type {
        png::ColorType::Rgb => bytes,
        png::ColorType::Grayscale => bytes.iter().flat_map(|grey| [*grey; 3]).collect(),
        other => panic!("{name}: {other:?}"),
    };
    Some((FrameSize { width: info.width, height: info.height }, rgb))
}
