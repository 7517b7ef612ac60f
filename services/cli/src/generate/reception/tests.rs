use std::path::Path;

use bytes::Bytes;
use cogwheel_api::generation::v1::{ArtifactHeader, ArtifactPart, VideoCompleted, artifact_part};
use cogwheel_api::tensor_parts;
use cogwheel_service::Exit;
use cogwheel_tensor::Tensor;

use super::*;

/// What a server tells about two videos of one frame.
struct Server;

impl Server {
    fn accepted(num_videos: u32) -> GenerateVideoResponse {
        let size = Some(VideoSize { num_frames: 1, width: 16, height: 16 });
        let accepted = Accepted { size, num_videos, ..Accepted::default() };
        Self::tell(0, Event::Accepted(accepted))
    }

    fn clip(index: u32, bytes: &'static [u8]) -> [GenerateVideoResponse; 3] {
        let byte_length = bytes.len() as u64;
        let header = ArtifactHeader { byte_length, ..ArtifactHeader::default() };
        [artifact_part::Part::Header(header), artifact_part::Part::Chunk(Bytes::from_static(bytes))]
            .map(|part| Self::tell(index, Event::Artifact(ArtifactPart { part: Some(part) })))
            .into_iter()
            .chain([Self::tell(index, Event::VideoCompleted(VideoCompleted::default()))])
            .collect::<Vec<_>>()
            .try_into()
            .unwrap()
    }

    fn latents(index: u32) -> Vec<GenerateVideoResponse> {
        let tensor = Tensor::from_f32([1, 1, 2, 2], vec![1.0; 4]).unwrap();
        let parts = tensor_parts("latents", &tensor);
        parts.map(|part| Self::tell(index, Event::Latents(part))).collect()
    }

    fn tell(video_index: u32, event: Event) -> GenerateVideoResponse {
        GenerateVideoResponse { video_index, event: Some(event) }
    }
}

/// The names of the files that are there after `responses`, and how the last was taken.
fn receive(
    folder: &Path,
    num_videos: u32,
    responses: impl IntoIterator<Item = GenerateVideoResponse>,
) -> (Vec<PathBuf>, Result<(), Fatal>) {
    let video = Target::video(&folder.join("clip.mp4"), Some(num_videos)).unwrap();
    let latents = Target::latents(&folder.join("end.safetensors"), Some(num_videos)).unwrap();
    let request =
        GenerateVideoRequest { num_videos: Some(num_videos), ..GenerateVideoRequest::default() };
    let mut progress = Progress::new(false);
    let mut reception = Reception::new(video, Some(latents), &request, None, &mut progress);
    let mut paths = Vec::new();
    for response in responses {
        match reception.take(response) {
            Ok(complete) => paths.extend(complete),
            Err(fatal) => return (paths, Err(fatal)),
        }
    }
    (paths, reception.finish())
}

#[test]
fn files_appear_in_the_order_in_which_they_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    let mut responses = vec![Server::accepted(2)];
    for index in 0..2 {
        responses.extend(Server::latents(index));
        responses.extend(Server::clip(index, b"clip"));
    }
    let (paths, result) = receive(folder.path(), 2, responses);
    result.unwrap();
    let names = ["end-0.safetensors", "clip-0.mp4", "end-1.safetensors", "clip-1.mp4"];
    assert_eq!(paths, names.map(|name| folder.path().join(name)));
    assert!(paths.iter().all(|path| path.is_file()));
}

#[test]
fn what_was_complete_stays_when_the_rest_does_not_come() {
    let folder = tempfile::tempdir().unwrap();
    let mut responses = vec![Server::accepted(2)];
    responses.extend(Server::latents(0));
    responses.extend(Server::clip(0, b"clip"));
    responses.extend(Server::latents(1));
    responses.extend(Server::clip(1, b"clip").into_iter().take(2));
    let (paths, result) = receive(folder.path(), 2, responses);
    assert!(result.unwrap_err().message.contains("expected 2 videos"));
    assert_eq!(paths.len(), 3);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn an_answer_that_breaks_the_contract_is_refused() {
    let clip = |index| Server::clip(index, b"clip").into_iter();
    let latents = || Server::latents(0).into_iter();
    let accepted = || std::iter::once(Server::accepted(1));
    let cases: [(&str, Vec<GenerateVideoResponse>); 6] = [
        ("a result before it was accepted", clip(0).collect()),
        ("more videos than asked for", vec![Server::accepted(2)]),
        ("a video of another number", accepted().chain(clip(1)).collect()),
        ("a video without its latents", accepted().chain(clip(0)).collect()),
        ("latents twice", accepted().chain(latents()).chain(latents()).collect()),
        ("the end of nothing", accepted().chain(latents()).chain(clip(0).skip(2)).collect()),
    ];
    for (case, responses) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (_, result) = receive(folder.path(), 1, responses);
        assert!(result.unwrap_err().message.starts_with("the server's answer"), "{case}");
        assert!(!folder.path().join("clip-0.mp4").exists(), "{case}");
    }
}

#[test]
fn a_path_that_became_unwritable_is_the_callers_and_a_broken_answer_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("videos");
    std::fs::create_dir(&folder).unwrap();
    let removal = std::iter::once_with(|| {
        std::fs::remove_dir(&folder).unwrap();
        Server::accepted(1)
    });
    let (_, result) = receive(&folder, 1, removal.chain(Server::clip(0, b"clip")));
    assert_eq!(result.unwrap_err().exit, Exit::Usage);

    let (_, result) = receive(parent.path(), 1, Server::clip(0, b"clip"));
    assert_eq!(result.unwrap_err().exit, Exit::Failed);
}
