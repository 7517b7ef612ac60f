use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn what_is_interrupted_leaves_nothing() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let [folder, cache] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let count = |folder: &tempfile::TempDir| fs::read_dir(folder.path()).unwrap().count();
    let path = root.join("demo/adapters/neon");
    let args = MergeArgs {
        model: root.join("demo/model"),
        lora: vec![Lora { path, weight_name: None, alpha: None, name: None, scale: None }],
        output: Some(folder.path().join("merged")),
        variant_cache: Some(cache.path().to_owned()),
        variant_cache_bytes: "1GB".parse().unwrap(),
        precision: cogwheel_service::Precision::Auto,
    };
    // At once, somewhere within the second merge, and when everything is merged.
    let asked = AtomicUsize::new(0);
    run(&args, &|| {
        asked.fetch_add(1, Ordering::Relaxed);
        false
    })
    .unwrap();
    assert!(args.output.as_ref().unwrap().join(folder::WEIGHTS).is_file());
    assert_eq!(count(&cache), 1);
    fs::remove_dir_all(args.output.as_ref().unwrap()).unwrap();
    fs::remove_dir_all(cache.path()).unwrap();
    fs::create_dir(cache.path()).unwrap();

    let all = asked.into_inner();
    for last in [0, all - 2, all - 1] {
        let times = AtomicUsize::new(0);
        let is_interrupted = || times.fetch_add(1, Ordering::Relaxed) >= last;
        assert!(run(&args, &is_interrupted).is_err());
        assert_eq!((count(&folder), count(&cache)), (0, 0), "{last} of {all}");
    }
}
