//! The committed gRPC code is what the protos generate. `COGWHEEL_WRITE_GENERATED=1` (that is
//! `make proto`) writes it instead of comparing.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::Path;

use prost::Message as _;

const PROTOS: [&str; 7] = [
    "cogwheel/tensor/v1/tensor.proto",
    "cogwheel/textencoder/v1/text_encoder.proto",
    "cogwheel/denoiser/v1/denoiser.proto",
    "cogwheel/vae/v1/vae.proto",
    "cogwheel/generation/v1/generation.proto",
    "cogwheel/adapter/v1/adapter.proto",
    "cogwheel/stage/v1/stage.proto",
];

#[test]
fn regenerating_the_committed_code_changes_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("..").join("shared/api/src/generated");
    let fresh = tempfile::tempdir().unwrap();
    generate(root, fresh.path());

    let names = files(fresh.path());
    if std::env::var_os("COGWHEEL_WRITE_GENERATED").is_some() {
        fs::create_dir_all(&committed).unwrap();
        for name in files(&committed).iter().filter(|name| !names.contains(name)) {
            fs::remove_file(committed.join(name)).unwrap();
        }
        for name in &names {
            fs::copy(fresh.path().join(name), committed.join(name)).unwrap();
        }
    }
    assert_eq!(files(&committed), names, "run `make proto`");
    for name in &names {
        let same =
            fs::read(committed.join(name)).unwrap() == fs::read(fresh.path().join(name)).unwrap();
        assert!(same, "{name} is not what the protos generate: run `make proto`");
    }
}

fn generate(protos: &Path, out: &Path) {
    let descriptors = protox::compile(PROTOS, [protos]).unwrap();
    fs::write(out.join("descriptor.bin"), descriptors.encode_to_vec()).unwrap();
    tonic_prost_build::configure()
        .bytes(".")
        .out_dir(out)
        .build_transport(true)
        .compile_fds(descriptors)
        .unwrap();
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
