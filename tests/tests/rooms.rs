//! The house's rules: which crate may know which, and where gRPC and ONNX Runtime may be named.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Lowest first: a crate depends only on crates above it.
const ROOMS: [&str; 11] = [
    "cogwheel-tensor",
    "cogwheel-weights",
    "cogwheel-diffusion",
    "cogwheel-graph",
    "cogwheel-product",
    "cogwheel-models",
    "cogwheel-lora",
    "cogwheel-engine",
    "cogwheel-video",
    "cogwheel-api",
    "cogwheel-service",
];
const SERVICES: [&str; 4] =
    ["cogwheel-text-encoder", "cogwheel-denoiser", "cogwheel-vae", "cogwheel-orchestrator"];
/// Rooms that know neither a network nor a runtime.
const PURE: usize = 7;

fn metadata() -> Metadata {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    MetadataCommand::new()
        .manifest_path(root)
        .no_deps()
        .other_options(["--offline".into()])
        .exec()
        .unwrap()
}

fn dependencies(package: &Package) -> HashSet<&str> {
    let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
    normal.map(|dependency| dependency.name.as_str()).collect()
}

#[test]
fn every_crate_depends_only_on_rooms_above_it() {
    let metadata = metadata();
    let height: HashMap<_, _> = ROOMS.iter().enumerate().map(|(at, &name)| (name, at)).collect();
    for package in &metadata.packages {
        let own = height.get(package.name.as_str()).copied().unwrap_or(ROOMS.len());
        for dependency in dependencies(package) {
            let Some(&other) = height.get(dependency) else { continue };
            assert!(other < own, "{} must not depend on {dependency}", package.name);
        }
    }
    let known: HashSet<_> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    for name in ROOMS.iter().chain(&SERVICES) {
        assert!(known.contains(name), "{name} is gone: mend this test and ARCHITECTURE.md");
    }
}

#[test]
fn services_do_not_know_each_other() {
    for package in &metadata().packages {
        let chain = ["cogwheel", "cogwheel-tests"].contains(&package.name.as_str());
        let known = dependencies(package);
        let services: Vec<_> = SERVICES.iter().filter(|&service| known.contains(service)).collect();
        assert!(chain || services.is_empty(), "{} must not depend on {services:?}", package.name);
    }
}

#[test]
fn pure_rooms_know_no_network_and_no_runtime() {
    for package in &metadata().packages {
        let name = package.name.as_str();
        let known = dependencies(package);
        let pure = ROOMS[..PURE].contains(&name);
        for network in ["tokio", "tonic", "hyper-util", "tower"] {
            assert!(!pure || !known.contains(network), "{name} must not know {network}");
        }
        assert!(name == "cogwheel-engine" || !known.contains("ort"), "{name} must not know ort");
    }
}

#[test]
fn grpc_is_named_only_where_it_belongs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut strays = Vec::new();
    for file in
        rust_files(&root.join("shared")).into_iter().chain(rust_files(&root.join("services")))
    {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let allowed = path.starts_with("shared/api/")
            || path.starts_with("shared/service/")
            || path.ends_with("/src/service.rs")
            || path.contains("/src/service/")
            || path == "services/cli/src/client.rs"
            || path.starts_with("services/cli/src/client/");
        if !allowed && fs::read_to_string(&file).unwrap().contains("tonic::") {
            strays.push(path);
        }
    }
    assert!(strays.is_empty(), "tonic is named in {strays:?}");
}

#[test]
fn an_http_client_is_named_only_where_it_belongs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for package in &metadata().packages {
        let (name, known) = (package.name.as_str(), dependencies(package));
        for client in ["reqwest", "rustls"] {
            let allowed = ["cogwheel", "cogwheel-orchestrator"].contains(&name);
            assert!(allowed || !known.contains(client), "{name} must not know {client}");
        }
    }
    let mut strays = Vec::new();
    for file in rust_files(&root.join("services")) {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let allowed = path.starts_with("services/cli/src/hub/")
            || path.starts_with("services/orchestrator/src/enhancer");
        if !allowed && fs::read_to_string(&file).unwrap().contains("reqwest::") {
            strays.push(path);
        }
    }
    assert!(strays.is_empty(), "reqwest is named in {strays:?}");
}

#[test]
fn metrics_and_traces_leave_by_one_room() {
    for package in &metadata().packages {
        let (name, known) = (package.name.as_str(), dependencies(package));
        for library in
            ["prometheus-client", "opentelemetry", "opentelemetry_sdk", "opentelemetry-otlp"]
        {
            assert!(
                name == "cogwheel-service" || !known.contains(library),
                "{name} must not know {library}"
            );
        }
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
