use std::fs;

use super::*;

#[track_caller]
fn refused(result: Result<Target, PathError>, expected: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(expected), "expected '{expected}' in '{error}'");
}

#[test]
fn the_ending_decides_the_kind() {
    let folder = tempfile::tempdir().unwrap();
    let kind = |name: &str| Target::video(&folder.path().join(name), None).map(|t| t.kind());
    assert_eq!(kind("a.mp4").unwrap(), Kind::Mp4);
    assert_eq!(kind("a.b.gif").unwrap(), Kind::Gif);
    assert_eq!(kind("a.safetensors").unwrap(), Kind::Tensors);
    assert_eq!(kind("new/").unwrap(), Kind::Pictures);
    assert_eq!(kind("").unwrap(), Kind::Pictures);
    fs::create_dir(folder.path().join("odd.mp4")).unwrap();
    assert_eq!(kind("odd.mp4").unwrap(), Kind::Pictures);
    for other in ["a", "a.avi", "a.webm", ".mp4", "a.mp4.", "a.png"] {
        assert!(matches!(kind(other), Err(PathError::Ending { .. })), "{other}");
    }
}

#[test]
fn latents_go_to_safetensors_only() {
    let folder = tempfile::tempdir().unwrap();
    let target = |name: &str| Target::latents(&folder.path().join(name), None);
    assert_eq!(target("a.safetensors").unwrap().kind(), Kind::Tensors);
    refused(target("a.mp4"), "--output-latents");
    refused(target(""), "found a folder");
    refused(target("a/"), "expected an ending of .safetensors");
}

#[test]
fn names_are_numbered_when_the_number_of_videos_is_stated() {
    let folder = tempfile::tempdir().unwrap();
    let names = |name: &str, num_videos| {
        let target = Target::video(&folder.path().join(name), num_videos).unwrap();
        (0..num_videos.unwrap_or(1))
            .map(|index| {
                // By text: paths are equal with and without a slash at the end.
                let path = target.path(index).into_os_string().into_string().unwrap();
                path[folder.path().as_os_str().len() + 1..].to_owned()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(names("clip.mp4", None), ["clip.mp4"]);
    assert_eq!(names("clip.mp4", Some(1)), ["clip-0.mp4"]);
    assert_eq!(names("a.b.gif", Some(2)), ["a.b-0.gif", "a.b-1.gif"]);
    assert_eq!(names("frames.v1/", Some(2)), ["frames.v1-0/", "frames.v1-1/"]);
    fs::create_dir(folder.path().join("old")).unwrap();
    assert_eq!(names("old", Some(1)), ["old-0/"]);
    assert_eq!(names("old", None), ["old"]);
}

#[test]
fn a_path_without_a_name_cannot_be_numbered() {
    refused(Target::video(Path::new("."), Some(2)), "--num-videos");
    refused(Target::video(Path::new("/"), Some(2)), "--num-videos");
}

#[test]
fn missing_folders_are_refused_and_not_created() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["missing/clip.mp4", "missing/frames/", "missing/a/b.safetensors"] {
        refused(Target::video(&folder.path().join(name), None), "found nothing");
    }
    fs::write(folder.path().join("file"), "").unwrap();
    refused(Target::video(&folder.path().join("file/clip.mp4"), None), "found a file");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_is_in_the_way_is_told_for_every_video() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("frames"), "").unwrap();
    refused(Target::video(&folder.path().join("frames/"), None), "expected a folder");
    fs::create_dir(folder.path().join("clip-1.mp4")).unwrap();
    let path = folder.path().join("clip.mp4");
    refused(Target::video(&path, Some(2)), "expected a file");
    assert!(Target::video(&path, Some(1)).is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_files_is_refused_even_for_root() {
    // A file system that lets nobody create files.
    refused(Target::video(Path::new("/proc/clip.mp4"), None), "cannot be written");
    refused(Target::video(Path::new("/proc/frames/"), None), "cannot be written");
    refused(Target::video(Path::new("/proc"), None), "cannot be written");
}

#[test]
fn a_check_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["clip.mp4", "frames/", "", "x.safetensors"] {
        Target::video(&folder.path().join(name), Some(3)).ok();
        Target::video(&folder.path().join(name), None).unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
