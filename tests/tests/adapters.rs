//! Adapters through the public API: registered by upload and by path, described, deleted, used.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cogwheel_api::adapter::v1::adapter_service_client::AdapterServiceClient;
use cogwheel_api::adapter::v1::{
    Adapter, CreateAdapterHeader, CreateAdapterRequest, DeleteAdapterRequest, GetAdapterRequest,
    ListAdaptersRequest, create_adapter_request::Part,
};
use cogwheel_api::generation::v1::{
    AdapterChoice, GenerateVideoRequest, OutputFormat, generate_video_response::Event,
};
use cogwheel_tests::{Chain, Video, collect, repository};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn model() -> PathBuf {
    repository().join("demo/model")
}

fn file(name: &str) -> PathBuf {
    repository().join("demo/adapters").join(name).join("pytorch_lora_weights.safetensors")
}

fn client(chain: &Chain) -> AdapterServiceClient<Channel> {
    AdapterServiceClient::new(chain.channel())
}

fn header(name: &str, bytes: &[u8]) -> CreateAdapterHeader {
    let weights_byte_length = bytes.len() as u64;
    CreateAdapterHeader { name: name.to_owned(), weights_byte_length, ..Default::default() }
}

async fn send(
    chain: &Chain,
    header: CreateAdapterHeader,
    chunks: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Adapter, Status> {
    let chunks = chunks.into_iter().map(|chunk| Part::Chunk(chunk.into()));
    parts(chain, [Part::Header(header)].into_iter().chain(chunks).map(Some).collect()).await
}

async fn parts(chain: &Chain, parts: Vec<Option<Part>>) -> Result<Adapter, Status> {
    let requests = parts.into_iter().map(|part| CreateAdapterRequest { part });
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
    Ok(client(chain).create_adapter(requests).await?.into_inner().adapter.unwrap())
}

async fn upload(chain: &Chain, name: &str, bytes: &[u8]) -> Result<Adapter, Status> {
    send(chain, header(name, bytes), bytes.chunks(10_000).map(<[u8]>::to_vec)).await
}

async fn at(chain: &Chain, name: &str, path: &Path) -> Result<Adapter, Status> {
    let path = path.to_str().unwrap().to_owned();
    send(chain, CreateAdapterHeader { name: name.to_owned(), path, ..Default::default() }, []).await
}

async fn names(chain: &Chain) -> Vec<String> {
    let adapters = client(chain).list_adapters(ListAdaptersRequest {}).await.unwrap();
    adapters.into_inner().adapters.into_iter().map(|adapter| adapter.name).collect()
}

async fn delete(chain: &Chain, name: &str) -> bool {
    let request = DeleteAdapterRequest { name: name.to_owned() };
    client(chain).delete_adapter(request).await.unwrap().into_inner().deleted
}

/// Refused for this field, in words that hold this text.
#[track_caller]
fn violates<T: std::fmt::Debug>(result: Result<T, Status>, field: &str, text: &str) {
    let status = result.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, field, "{violations:?}");
    assert!(status.message().contains(text), "expected '{text}' in '{}'", status.message());
}

/// A short generation.
fn request(adapters: &[(&str, f32)]) -> GenerateVideoRequest {
    let choose = |(name, scale): &(&str, f32)| AdapterChoice {
        name: (*name).to_owned(),
        scale: Some(*scale),
    };
    GenerateVideoRequest {
        prompt: "a red circle moving left on a dark background".to_owned(),
        num_frames: Some(9),
        num_inference_steps: Some(2),
        seed: Some(7),
        output_format: OutputFormat::Frames.into(),
        adapters: adapters.iter().map(choose).collect(),
        ..Default::default()
    }
}

async fn generate(chain: &Chain, adapters: &[(&str, f32)]) -> Result<Video, Status> {
    collect(chain.client().generate_video(request(adapters)).await?.into_inner()).await
}

/// The variant that made the only video.
fn variant(video: &Video) -> String {
    let completed = video.events.iter().find_map(|(_, event)| match event {
        Event::VideoCompleted(completed) => Some(completed.variant.clone()),
        _ => None,
    });
    completed.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_adapter_is_described_listed_and_deleted() {
    let chain = Chain::start(&model());
    let neon = fs::read(file("neon")).unwrap();
    let added = upload(&chain, "neon", &neon).await.unwrap();
    assert_eq!((added.name.as_str(), added.size_bytes), ("neon", neon.len() as u64));
    assert_eq!((added.layout.as_str(), added.digest.len()), ("diffusers", 64));
    assert!(added.num_targets > 0 && added.num_targets <= added.num_targets_of_model);
    assert_eq!(upload(&chain, "neon", &neon).await.unwrap(), added);
    let get = GetAdapterRequest { name: "neon".to_owned() };
    let got = client(&chain).get_adapter(get.clone()).await.unwrap().into_inner().adapter;
    assert_eq!(got, Some(added));

    let bounce = fs::read(file("bounce")).unwrap();
    let status = upload(&chain, "neon", &bounce).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status}");
    assert_eq!(status.get_details_resource_info().unwrap().resource_name, "neon");
    upload(&chain, "bounce", &bounce).await.unwrap();
    assert_eq!(names(&chain).await, ["bounce", "neon"]);

    assert!(delete(&chain, "neon").await);
    assert!(!delete(&chain, "neon").await);
    let status = client(&chain).get_adapter(get).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let expected = "adapter: expected a registered adapter, such as 'bounce', found 'neon'";
    assert_eq!(status.message(), expected);
    assert_eq!(status.get_details_resource_info().unwrap().resource_type, "adapter");
    assert_eq!(names(&chain).await, ["bounce"]);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_headers_that_will_not_do_are_refused() {
    let chain = Chain::start(&model());
    for name in ["", "..", "a/b", "-a", "a b", "\u{e9}"] {
        violates(upload(&chain, name, b"x").await, "name", "letters");
        let get = GetAdapterRequest { name: name.to_owned() };
        violates(client(&chain).get_adapter(get).await, "name", "letters");
        let delete = DeleteAdapterRequest { name: name.to_owned() };
        violates(client(&chain).delete_adapter(delete).await, "name", "letters");
    }
    for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let header = CreateAdapterHeader { alpha: Some(alpha), ..header("a", b"x") };
        violates(send(&chain, header, []).await, "alpha", "positive");
    }
    let both = CreateAdapterHeader { path: "p".to_owned(), ..header("a", b"x") };
    violates(send(&chain, both, []).await, "weights_byte_length", "expected 0 with a path");
    let named = CreateAdapterHeader { weight_name: "w".to_owned(), ..header("a", b"x") };
    violates(send(&chain, named, []).await, "weight_name", "without a path");
    violates(parts(&chain, Vec::new()).await, "header", "first");
    violates(parts(&chain, vec![None]).await, "header", "first");
    let chunk = Part::Chunk(vec![0].into());
    violates(parts(&chain, vec![Some(chunk)]).await, "header", "first");
    assert!(names(&chain).await.is_empty());
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_bounded_and_held_to_their_lengths() {
    let chain = Chain::start_with(&model(), &["--max-adapter-bytes", "1MB", "--max-adapters", "1"]);
    let lengths = |weights, config| CreateAdapterHeader {
        weights_byte_length: weights,
        config_byte_length: config,
        ..header("a", b"")
    };
    violates(send(&chain, lengths(1_000_001, 0), []).await, "weights_byte_length", "1000000");
    violates(send(&chain, lengths(u64::MAX, 0), []).await, "weights_byte_length", "1000000");
    violates(send(&chain, lengths(0, 0), []).await, "weights_byte_length", "or a path");
    violates(send(&chain, lengths(1, u64::MAX), []).await, "config_byte_length", "at most");
    let bounce = fs::read(file("bounce")).unwrap();
    let short = bounce[..bounce.len() - 1].to_vec();
    violates(send(&chain, header("a", &bounce), [short]).await, "chunk", "found");
    let long = [bounce.clone(), vec![0]].concat();
    violates(send(&chain, header("a", &bounce), [long]).await, "chunk", "found more");
    violates(send(&chain, header("a", &bounce), [Vec::new()]).await, "chunk", "found none");
    let twice =
        vec![Some(Part::Header(header("a", &bounce))), Some(Part::Header(header("a", &bounce)))];
    violates(parts(&chain, twice).await, "header", "found two");
    violates(upload(&chain, "a", b"nothing of the sort").await, "weights", "weights");
    assert!(names(&chain).await.is_empty());

    upload(&chain, "a", &bounce).await.unwrap();
    let status = upload(&chain, "b", &bounce).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("--max-adapters"), "{status}");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_for_another_model_is_refused_with_what_was_expected() {
    let chain = Chain::start(&model());
    let other = repository().join("tests/data/adapters/attention.safetensors");
    let other = fs::read(other).unwrap();
    violates(upload(&chain, "a", &other).await, "weights", "expected an adapter for");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adapter_folders_are_served_and_bound_what_can_be_registered_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let allowed = folder.path().join("allowed");
    fs::create_dir_all(allowed.join("deep/er")).unwrap();
    fs::copy(file("neon"), allowed.join("glow.safetensors")).unwrap();
    fs::write(allowed.join("broken.safetensors"), "nothing of the sort").unwrap();
    fs::copy(file("bounce"), allowed.join("deep/er/b.safetensors")).unwrap();
    fs::copy(file("bounce"), folder.path().join("outside.safetensors")).unwrap();
    let chain = Chain::start_with(&model(), &["--adapter-dir", allowed.to_str().unwrap()]);
    assert_eq!(names(&chain).await, ["glow"]);
    let added = at(&chain, "bounce", Path::new("deep/er/b.safetensors")).await.unwrap();
    let again = at(&chain, "bounce", &allowed.join("deep/er")).await.unwrap();
    assert_eq!(added, again);
    for path in ["../outside.safetensors", "deep/../../outside.safetensors", "/etc/passwd"] {
        let status = at(&chain, "x", Path::new(path)).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    }
    #[cfg(unix)]
    {
        let link = allowed.join("deep/link.safetensors");
        std::os::unix::fs::symlink(folder.path().join("outside.safetensors"), &link).unwrap();
        let status = at(&chain, "x", &link).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    }
    violates(at(&chain, "x", Path::new("none")).await, "path", "nothing");
    assert_eq!(names(&chain).await, ["bounce", "glow"]);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_keeps_uploads_from_one_run_to_the_next() {
    let data = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", data.path().to_str().unwrap()];
    let neon = fs::read(file("neon")).unwrap();
    let chain = Chain::start_with(&model(), &flags);
    let stated = CreateAdapterHeader { alpha: Some(3.0), ..header("neon", &neon) };
    let added = send(&chain, stated, [neon.clone()]).await.unwrap();
    assert_eq!(added.stated_alpha, Some(3.0));
    chain.stop().await;

    let chain = Chain::start_with(&model(), &flags);
    let get = GetAdapterRequest { name: "neon".to_owned() };
    let kept = client(&chain).get_adapter(get).await.unwrap().into_inner().adapter;
    assert_eq!(kept, Some(added));
    assert!(delete(&chain, "neon").await);
    chain.stop().await;
    let chain = Chain::start_with(&model(), &flags);
    assert!(names(&chain).await.is_empty());
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_mends_a_stored_file_that_was_damaged_under_the_server() {
    let data = tempfile::tempdir().unwrap();
    let chain = Chain::start_with(&model(), &["--data-dir", data.path().to_str().unwrap()]);
    let neon = fs::read(file("neon")).unwrap();
    let added = upload(&chain, "neon", &neon).await.unwrap();
    let stored = data.path().join(format!("adapters/{}.safetensors", added.digest));
    fs::write(&stored, "damaged").unwrap();
    let status = generate(&chain, &[("neon", 1.0)]).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert_eq!(upload(&chain, "neon", &neon).await.unwrap(), added);
    assert_eq!(fs::read(stored).unwrap(), neon);
    assert_eq!(variant(&generate(&chain, &[("neon", 1.0)]).await.unwrap()).len(), 64);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adapters_of_a_request_are_checked_before_any_work() {
    let chain = Chain::start(&model());
    let refused = async |adapters: &[(&str, f32)]| {
        chain.client().generate_video(request(adapters)).await.map(drop)
    };
    violates(refused(&[("neon", 1.0)]).await, "adapters[0].name", "none is registered");
    upload(&chain, "neon", &fs::read(file("neon")).unwrap()).await.unwrap();
    violates(refused(&[("noen", 1.0)]).await, "adapters[0].name", "such as 'neon'");
    violates(refused(&[("neon", 1.0), ("neon", 0.5)]).await, "adapters[1].name", "again");
    violates(refused(&[("neon", f32::NAN)]).await, "adapters[0].scale", "NaN");
    violates(refused(&[("neon", f32::INFINITY)]).await, "adapters[0].scale", "inf");
    violates(refused(&[("../neon", 1.0)]).await, "adapters[0].name", "letters");
    let many = [("a", 1.0); 17];
    violates(refused(&many).await, "adapters", "at most 16, found 17");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_says_which_adapters_and_which_variant_made_it() {
    let chain = Chain::start(&model());
    let neon = upload(&chain, "neon", &fs::read(file("neon")).unwrap()).await.unwrap();
    upload(&chain, "same", &fs::read(file("neon")).unwrap()).await.unwrap();
    let base = generate(&chain, &[]).await.unwrap();
    assert_eq!(variant(&base), "");
    let glowing = generate(&chain, &[("neon", 0.5)]).await.unwrap();
    assert_ne!(base.frames, glowing.frames);
    assert_eq!(variant(&glowing).len(), 64);
    let Some((_, Event::Accepted(accepted))) = glowing.events.first() else { panic!() };
    let adapter = &accepted.adapters[0];
    assert_eq!((&adapter.name, &adapter.digest), (&neon.name, &neon.digest));
    assert_eq!((adapter.scale, accepted.adapters.len()), (0.5, 1));
    let merging = |event: &Event| matches!(event, Event::VariantMerging(_));
    assert!(glowing.events.iter().any(|(_, event)| merging(event)), "{:?}", glowing.events);

    let same = generate(&chain, &[("same", 0.5)]).await.unwrap();
    assert_eq!((variant(&same), &same.frames), (variant(&glowing), &glowing.frames));
    let stronger = generate(&chain, &[("neon", 1.0)]).await.unwrap();
    assert_ne!(variant(&stronger), variant(&glowing));
    let off = generate(&chain, &[("neon", 0.0)]).await.unwrap();
    assert_eq!((variant(&off).as_str(), &off.frames), ("", &base.frames));
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_is_deleted_while_it_is_used_serves_to_the_end() {
    let chain = Chain::start(&model());
    let neon = fs::read(file("neon")).unwrap();
    upload(&chain, "neon", &neon).await.unwrap();
    // Accepted before the denoiser has ever seen the file: it is put there after the deletion.
    let stream = chain.client().generate_video(request(&[("neon", 1.0)])).await.unwrap();
    assert!(delete(&chain, "neon").await);
    let video = collect(stream.into_inner()).await.unwrap();
    assert_eq!(variant(&video).len(), 64);
    violates(generate(&chain, &[("neon", 1.0)]).await, "adapters[0].name", "none is registered");
    upload(&chain, "neon", &neon).await.unwrap();
    let again = generate(&chain, &[("neon", 1.0)]).await.unwrap();
    assert_eq!(again.frames, video.frames);
    chain.stop().await;
}

/// Twelve callers register, use and delete names that others use too: whatever was accepted gives what it gives alone.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_come_and_go_under_load_never_give_another_video() {
    let data = tempfile::tempdir().unwrap();
    let chain = Chain::start_with(&model(), &["--data-dir", data.path().to_str().unwrap()]);
    let files = ["neon", "bounce"].map(|name| fs::read(file(name)).unwrap());
    let mut alone = HashMap::new();
    for bytes in &files {
        let digest = upload(&chain, "alone", bytes).await.unwrap().digest;
        let video = generate(&chain, &[("alone", 1.0)]).await.unwrap();
        alone.insert(digest, video.frames);
        assert!(delete(&chain, "alone").await);
    }
    let (chain, alone, files) = (Arc::new(chain), Arc::new(alone), Arc::new(files));
    let mut work = tokio::task::JoinSet::new();
    for index in 0..12 {
        let (chain, alone) = (Arc::clone(&chain), Arc::clone(&alone));
        let files = Arc::clone(&files);
        work.spawn(async move {
            let name = ["a", "b", "c"][index % 3];
            // The name may stand for the other file just now, or too many come at once.
            if let Err(status) = upload(&chain, name, &files[index % 2]).await {
                let expected = [Code::AlreadyExists, Code::ResourceExhausted];
                assert!(expected.contains(&status.code()), "{status}");
            }
            let made = match generate(&chain, &[(name, 1.0)]).await {
                Ok(video) => {
                    let Some((_, Event::Accepted(accepted))) = video.events.first() else {
                        panic!()
                    };
                    assert!(video.frames == alone[&accepted.adapters[0].digest]);
                    true
                }
                // Someone has deleted it in between.
                Err(status) => {
                    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
                    false
                }
            };
            delete(&chain, name).await;
            made
        });
    }
    let made = work.join_all().await.into_iter().filter(|made| *made).count();
    assert!(made > 0);
    for name in ["a", "b", "c"] {
        delete(&chain, name).await;
    }
    Arc::try_unwrap(chain).unwrap().stop().await;
    // Nothing is left but the lock and the empty list.
    let left: Vec<_> = fs::read_dir(data.path().join("adapters"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".lock" && name != "adapters.json")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
