use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::{Fatal, MemorySize};
use tempfile::TempDir;

use super::*;
use crate::settings::AdapterArgs;

fn demo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(path)
}

fn file(name: &str) -> PathBuf {
    demo("adapters").join(name).join("pytorch_lora_weights.safetensors")
}

fn try_open(args: &AdapterArgs) -> Result<Registry, Fatal> {
    Registry::open(args, &[], &Checkpoint::open(&demo("model")).unwrap())
}

fn open(args: &AdapterArgs) -> Registry {
    try_open(args).unwrap()
}

fn folder(dir: &TempDir) -> AdapterArgs {
    AdapterArgs { adapter_dirs: vec![dir.path().to_path_buf()], ..AdapterArgs::default() }
}

fn durable(dir: &TempDir) -> AdapterArgs {
    AdapterArgs { data_dir: Some(dir.path().to_path_buf()), ..AdapterArgs::default() }
}

fn called(name: &str) -> Registration {
    Registration { name: name.to_owned(), alpha: None }
}

fn upload(
    registry: &Registry,
    name: &str,
    bytes: &[u8],
) -> Result<Arc<RegisteredAdapter>, Failure> {
    let mut incoming = registry.incoming(false).unwrap();
    incoming.weights.write_all(bytes).unwrap();
    registry.create_of(called(name), incoming)
}

fn names(registry: &Registry) -> Vec<String> {
    registry.adapters().keys().cloned().collect()
}

/// Files in a data folder's store, the lock and the names left out.
fn stored(data: &TempDir) -> usize {
    let entries = fs::read_dir(data.path().join("adapters")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".safetensors")).count()
}

#[track_caller]
fn violates<T: std::fmt::Debug>(result: Result<T, Failure>, field: &str, text: &str) {
    match result {
        Err(Failure::Invalid(invalid)) => {
            assert_eq!(invalid.0[0].field, field, "{invalid}");
            assert!(invalid.to_string().contains(text), "expected '{text}' in '{invalid}'");
        }
        other => panic!("expected a violation of {field}, found {other:?}"),
    }
}

#[track_caller]
fn denied<T: std::fmt::Debug>(result: Result<T, Failure>) {
    assert!(matches!(result, Err(Failure::PermissionDenied(_))), "{result:?}");
}

#[test]
fn files_and_folders_of_an_adapter_folder_are_there_at_the_start_and_broken_ones_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let of = |name: &str| dir.path().join(name);
    fs::copy(file("neon"), of("glow.safetensors")).unwrap();
    fs::create_dir(of("bounce")).unwrap();
    fs::copy(file("bounce"), of("bounce/anything.safetensors")).unwrap();
    fs::write(of("broken.safetensors"), "nothing of the sort").unwrap();
    fs::write(of("pickle.bin"), "").unwrap();
    fs::write(of("README.md"), "").unwrap();
    fs::create_dir(of("empty")).unwrap();
    fs::copy(file("neon"), of("no name.safetensors")).unwrap();
    assert_eq!(names(&open(&folder(&dir))), ["bounce", "glow"]);
}

#[test]
fn two_adapters_of_one_name_are_told_with_both_their_paths() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    for (folder, name) in [(&first, "neon"), (&second, "bounce")] {
        fs::create_dir(folder).unwrap();
        fs::copy(file(name), folder.join("glow.safetensors")).unwrap();
    }
    let adapter_dirs = vec![first.clone(), second.clone()];
    let registry = open(&AdapterArgs { adapter_dirs, ..AdapterArgs::default() });
    assert_eq!(names(&registry), ["glow"]);
    let mut adapters = (*registry.adapters()).clone();
    let path = second.canonicalize().unwrap().join("glow.safetensors");
    let other = registry.of_folder("glow", &path).unwrap();
    let message = start::put(&mut adapters, other).unwrap_err();
    for folder in [first, second] {
        let path = folder.canonicalize().unwrap().join("glow.safetensors");
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
    assert!(message.contains("found two of 'glow'") && message.contains("rename"), "{message}");
}

#[test]
fn a_folder_that_is_not_there_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for missing in [dir.path().join("none"), file("neon")] {
        let args = AdapterArgs { adapter_dirs: vec![missing], ..AdapterArgs::default() };
        let fatal = try_open(&args).unwrap_err();
        assert!(fatal.message.contains("--adapter-dir"), "{}", fatal.message);
    }
}

#[test]
fn paths_below_the_folders_are_registered_again_without_effect() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("deep/er")).unwrap();
    fs::copy(file("neon"), dir.path().join("deep/er/neon.safetensors")).unwrap();
    let registry = open(&folder(&dir));
    let absolute = dir.path().join("deep/er/neon.safetensors");
    let first = registry.create_at(called("a"), &absolute, None).unwrap();
    let relative = Path::new("deep/er");
    let again = registry.create_at(called("a"), relative, Some("neon.safetensors")).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let stated = Registration { alpha: Some(3.0), ..called("a") };
    let conflict = registry.create_at(stated.clone(), relative, None);
    assert!(matches!(conflict, Err(Failure::AlreadyExists { .. })), "{conflict:?}");
    let other = Registration { name: "b".to_owned(), ..stated };
    let other = registry.create_at(other, relative, None).unwrap();
    assert_eq!(other.digest(), first.digest());
    assert_eq!(other.message().stated_alpha, Some(3.0));
    assert_ne!(other.message().scales, first.message().scales);
}

#[test]
fn paths_that_leave_the_folders_are_refused_whether_or_not_they_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let allowed = dir.path().join("allowed");
    fs::create_dir_all(allowed.join("inner")).unwrap();
    fs::copy(file("neon"), dir.path().join("outside.safetensors")).unwrap();
    let args = AdapterArgs { adapter_dirs: vec![allowed.clone()], ..AdapterArgs::default() };
    let registry = open(&args);
    let create = |path: &Path| registry.create_at(called("a"), path, None);
    denied(create(Path::new("../outside.safetensors")));
    denied(create(Path::new("inner/../../outside.safetensors")));
    denied(create(&allowed.join("../outside.safetensors")));
    denied(create(&dir.path().join("outside.safetensors")));
    denied(create(&dir.path().join("none.safetensors")));
    denied(create(Path::new("/etc/passwd")));
    denied(create(Path::new("/")));
    // A sibling whose name begins alike is no part of the folder.
    fs::create_dir(dir.path().join("allowed-not")).unwrap();
    denied(create(&dir.path().join("allowed-not")));
    violates(create(&allowed.join("none.safetensors")), "path", "nothing");
    violates(create(Path::new("none")), "path", "nothing");
    violates(create(Path::new("inner")), "path", "none");
    let up = registry.create_at(called("a"), Path::new("inner"), Some("../../outside.safetensors"));
    violates(up, "weight_name", "expected the name of a file");
    denied(open(&AdapterArgs::default()).create_at(called("a"), &file("neon"), None));
}

#[cfg(unix)]
#[test]
fn links_that_leave_the_folders_are_refused_and_links_within_them_followed() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let allowed = dir.path().join("allowed");
    fs::create_dir_all(allowed.join("real")).unwrap();
    let weights = "pytorch_lora_weights.safetensors";
    fs::copy(file("neon"), allowed.join("real").join(weights)).unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    fs::copy(file("bounce"), dir.path().join("outside").join(weights)).unwrap();
    symlink(allowed.join("real"), allowed.join("within")).unwrap();
    symlink(dir.path().join("outside"), allowed.join("folder")).unwrap();
    symlink(dir.path().join("outside").join(weights), allowed.join("file.safetensors")).unwrap();
    fs::create_dir(allowed.join("trap")).unwrap();
    symlink(dir.path().join("outside").join(weights), allowed.join("trap").join(weights)).unwrap();
    let args = AdapterArgs { adapter_dirs: vec![allowed], ..AdapterArgs::default() };
    let registry = open(&args);
    assert_eq!(names(&registry), ["real", "within"]);
    for path in ["folder", "file.safetensors", "trap"] {
        denied(registry.create_at(called("a"), Path::new(path), None));
    }
    denied(registry.create_at(called("a"), Path::new("folder"), Some(weights)));
}

#[test]
fn an_upload_is_kept_once_and_goes_with_its_last_name_and_its_last_user() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(&durable(&data));
    let neon = fs::read(file("neon")).unwrap();
    let first = upload(&registry, "a", &neon).unwrap();
    assert!(Arc::ptr_eq(&first, &upload(&registry, "a", &neon).unwrap()));
    let second = upload(&registry, "b", &neon).unwrap();
    assert_eq!((stored(&data), names(&registry)), (1, vec!["a".to_owned(), "b".to_owned()]));
    let bounce = fs::read(file("bounce")).unwrap();
    let conflict = upload(&registry, "a", &bounce);
    assert!(matches!(conflict, Err(Failure::AlreadyExists { .. })), "{conflict:?}");
    assert_eq!(stored(&data), 1);

    assert!(registry.delete("a").unwrap());
    assert!(!registry.delete("a").unwrap());
    drop(first);
    assert_eq!(stored(&data), 1);
    assert!(registry.delete("b").unwrap());
    // A request still uses it.
    assert_eq!(fs::read(&second.files().weights).unwrap(), neon);
    let again = upload(&registry, "c", &neon).unwrap();
    drop(second);
    assert_eq!(stored(&data), 1);
    assert!(registry.delete("c").unwrap());
    drop(again);
    assert_eq!(stored(&data), 0);
}

#[test]
fn an_upload_that_is_no_adapter_is_refused_without_the_servers_paths() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(&durable(&data));
    let refused = upload(&registry, "a", b"nothing of the sort");
    violates(refused.clone(), "weights", "weights: ");
    let message = refused.unwrap_err().to_string();
    assert!(!message.contains(data.path().to_str().unwrap()), "{message}");
    let neon = fs::read(file("neon")).unwrap();
    violates(upload(&registry, "a", &neon[..neon.len() - 1]), "weights", "weights: ");
    assert_eq!((stored(&data), names(&registry).len()), (0, 0));
}

#[test]
fn a_server_with_a_data_folder_has_its_adapters_after_a_restart() {
    let (data, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(dir.path().join("deep")).unwrap();
    fs::copy(file("bounce"), dir.path().join("deep/bounce.safetensors")).unwrap();
    let args = AdapterArgs { adapter_dirs: folder(&dir).adapter_dirs, ..durable(&data) };
    let registry = open(&args);
    let neon = fs::read(file("neon")).unwrap();
    upload(&registry, "kept", &neon).unwrap();
    upload(&registry, "gone", &neon).unwrap();
    registry.delete("gone").unwrap();
    let stated = Registration { alpha: Some(2.0), ..called("by-path") };
    registry.create_at(stated, Path::new("deep"), None).unwrap();
    let before: Vec<_> = registry.adapters().values().map(|adapter| adapter.message()).collect();
    let locked = try_open(&args).unwrap_err();
    assert!(locked.message.contains("another server"), "{}", locked.message);
    drop(registry);
    fs::write(data.path().join("adapters/.incoming-left.safetensors"), "half").unwrap();

    let registry = open(&args);
    let after: Vec<_> = registry.adapters().values().map(|adapter| adapter.message()).collect();
    assert_eq!(before, after);
    assert_eq!(stored(&data), 1);
    assert!(registry.delete("kept").unwrap());
    assert_eq!(stored(&data), 0);
}

/// A data folder whose store holds a user's own files once lost them at the start.
#[test]
fn files_that_are_not_the_stores_own_are_never_removed() {
    let data = tempfile::tempdir().unwrap();
    let neon = fs::read(file("neon")).unwrap();
    upload(&open(&durable(&data)), "a", &neon).unwrap();
    let store = data.path().join("adapters");
    let digest = "ab".repeat(32);
    let [upper, longer] = [digest.to_uppercase(), format!("{digest}0")];
    let own = ["neon", &upper, &longer].map(|stem| store.join(format!("{stem}.safetensors")));
    let config = store.join("neon.adapter_config.json");
    let orphan = store.join(format!("{digest}.safetensors"));
    for path in own.iter().chain([&config, &orphan]) {
        fs::write(path, "mine").unwrap();
    }
    assert_eq!(names(&open(&durable(&data))), ["a"]);
    assert!(own.iter().chain([&config]).all(|path| path.is_file()));
    assert!(!orphan.exists());
    // Names that are missing are not names that were taken back.
    fs::remove_file(store.join("adapters.json")).unwrap();
    assert!(names(&open(&durable(&data))).is_empty());
    assert_eq!(stored(&data), own.len() + 1);
}

#[test]
fn a_data_folder_within_an_adapter_folder_ends_the_start_and_is_left_as_it_is() {
    let data = tempfile::tempdir().unwrap();
    let store = data.path().join("adapters");
    fs::create_dir(&store).unwrap();
    fs::copy(file("neon"), store.join("neon.safetensors")).unwrap();
    for dir in [data.path(), &store] {
        let args = AdapterArgs { adapter_dirs: vec![dir.to_path_buf()], ..durable(&data) };
        let fatal = try_open(&args).unwrap_err();
        assert!(fatal.message.contains("part of an --adapter-dir"), "{}", fatal.message);
        assert_eq!(fs::read_dir(&store).unwrap().count(), 1);
    }
}

/// As the hub's cache has them: links under the usual names, files under none.
#[cfg(unix)]
#[test]
fn a_peft_folder_of_links_has_its_config_after_a_restart() {
    use std::os::unix::fs::symlink;
    let (data, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let snapshot = dir.path().join("deep/snapshot");
    fs::create_dir_all(&snapshot).unwrap();
    let [weights, config] = ["0a", "0b"].map(|blob| dir.path().join("deep").join(blob));
    fs::copy(file("neon"), &weights).unwrap();
    fs::write(&config, r#"{"peft_type": "LORA", "base_model_name_or_path": "mine"}"#).unwrap();
    symlink(&weights, snapshot.join("adapter_model.safetensors")).unwrap();
    symlink(&config, snapshot.join("adapter_config.json")).unwrap();
    let args = AdapterArgs { adapter_dirs: folder(&dir).adapter_dirs, ..durable(&data) };
    let registry = open(&args);
    let before = registry.create_at(called("a"), &snapshot, None).unwrap().message();
    assert_eq!(before.stated_base, "mine");
    drop(registry);
    let after = open(&args).adapters().get("a").map(|adapter| adapter.message());
    assert_eq!(after, Some(before));
}

#[test]
fn an_uploaded_config_is_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(&durable(&data));
    let mut incoming = registry.incoming(true).unwrap();
    incoming.weights.write_all(&fs::read(file("neon")).unwrap()).unwrap();
    incoming.config.as_mut().unwrap().write_all(br#"{"peft_type": "LORA"}"#).unwrap();
    let before = registry.create_of(called("a"), incoming).unwrap().message();
    drop(registry);
    let after = open(&durable(&data)).adapters().get("a").map(|adapter| adapter.message());
    assert_eq!(after, Some(before));
}

#[test]
fn a_stored_file_that_was_altered_is_left_out_and_can_be_sent_again() {
    let data = tempfile::tempdir().unwrap();
    let neon = fs::read(file("neon")).unwrap();
    let path = upload(&open(&durable(&data)), "a", &neon).unwrap().files().weights.clone();
    let mut altered = neon.clone();
    *altered.last_mut().unwrap() ^= 1;
    fs::write(&path, altered).unwrap();
    let registry = open(&durable(&data));
    assert!(names(&registry).is_empty());
    let again = upload(&registry, "a", &neon).unwrap();
    assert_eq!(fs::read(&again.files().weights).unwrap(), neon);
    drop((again, registry));
    assert_eq!(names(&open(&durable(&data))), ["a"]);
}

/// A server once said that an adapter was there whose file was damaged or gone, and every request with it failed.
#[test]
fn what_is_sent_again_replaces_a_kept_file_that_was_damaged_or_removed_meanwhile() {
    type Damage = fn(&Path);
    let damages: [Damage; 3] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, b"cut").unwrap(),
        |path| {
            let mut bytes = fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        },
    ];
    let neon = fs::read(file("neon")).unwrap();
    for (again, damage) in ["a", "b"].into_iter().flat_map(|name| damages.map(|d| (name, d))) {
        let data = tempfile::tempdir().unwrap();
        let registry = open(&durable(&data));
        let first = upload(&registry, "a", &neon).unwrap();
        damage(&first.files().weights);
        let second = upload(&registry, again, &neon).unwrap();
        // Requests that hold the first have it again too.
        for adapter in [&first, &second] {
            assert_eq!(fs::read(&adapter.files().weights).unwrap(), neon);
        }
        assert_eq!(stored(&data), 1);
        drop((first, second, registry));
        assert!(names(&open(&durable(&data))).contains(&again.to_owned()));
    }
}

#[test]
fn an_adapter_whose_path_is_gone_is_registered_anew_from_where_it_is_now() {
    let (data, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [old, new] = ["old", "new"].map(|name| dir.path().join("deep").join(name));
    fs::create_dir_all(dir.path().join("deep")).unwrap();
    fs::copy(file("neon"), old.with_extension("safetensors")).unwrap();
    let args = AdapterArgs { adapter_dirs: folder(&dir).adapter_dirs, ..durable(&data) };
    let registry = open(&args);
    let path = |path: &Path| path.with_extension("safetensors").canonicalize().unwrap();
    registry.create_at(called("a"), &path(&old), None).unwrap();
    fs::rename(path(&old), new.with_extension("safetensors")).unwrap();
    let moved = registry.create_at(called("a"), &path(&new), None).unwrap();
    assert_eq!(moved.files().weights, path(&new));
    fs::remove_file(path(&new)).unwrap();
    let neon = fs::read(file("neon")).unwrap();
    let sent = upload(&registry, "a", &neon).unwrap();
    assert_eq!(fs::read(&sent.files().weights).unwrap(), neon);
    drop((sent, registry));
    assert_eq!(names(&open(&args)), ["a"]);
}

#[test]
fn an_upload_that_is_refused_leaves_nothing_and_takes_nothing_away() {
    let data = tempfile::tempdir().unwrap();
    let registry = open(&durable(&data));
    let [neon, bounce] = ["neon", "bounce"].map(|name| fs::read(file(name)).unwrap());
    let first = upload(&registry, "a", &neon).unwrap();
    upload(&registry, "a", &bounce).unwrap_err();
    assert_eq!(stored(&data), 1);
    upload(&registry, "b", &bounce).unwrap();
    upload(&registry, "b", &neon).unwrap_err();
    assert_eq!(stored(&data), 2);
    assert_eq!(fs::read(&first.files().weights).unwrap(), neon);
}

#[test]
fn names_that_cannot_be_read_end_the_start_and_are_not_written_over() {
    let data = tempfile::tempdir().unwrap();
    drop(open(&durable(&data)));
    let path = data.path().join("adapters/adapters.json");
    let traversal = r#"{"adapters":[{"name":"a","digest":"../../x"}]}"#;
    for json in ["", "{", "[]", r#"{"adapters":[{}]}"#, r#"{"new":1,"adapters":[]}"#, traversal] {
        fs::write(&path, json).unwrap();
        let fatal = try_open(&durable(&data)).unwrap_err();
        assert!(fatal.message.contains("adapters.json"), "{}", fatal.message);
        assert_eq!(fs::read_to_string(&path).unwrap(), json);
    }
}

/// Without them nobody tells who registers a file of SAT's that it wants another scale.
/// It waited for a writer for ever, and for no signal.
#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_the_names_ends_the_start_and_is_not_waited_for() {
    let data = tempfile::tempdir().unwrap();
    drop(open(&durable(&data)));
    let names = data.path().join("adapters/adapters.json");
    let _ = std::fs::remove_file(&names);
    let made = std::process::Command::new("mkfifo").arg(&names).status().unwrap();
    assert!(made.success());
    let fatal = try_open(&durable(&data)).unwrap_err();
    assert!(fatal.message.contains("no regular file"), "{}", fatal.message);
}

#[test]
fn endings_count_in_capitals_too() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(file("neon"), dir.path().join("Loud.SafeTensors")).unwrap();
    assert_eq!(names(&open(&folder(&dir))), ["Loud"]);
}

#[test]
fn adapters_are_judged_by_the_models_weights_where_these_are_there() {
    let neon = fs::read(file("neon")).unwrap();
    let with = upload(&open(&AdapterArgs::default()), "a", &neon).unwrap();
    assert!(with.description().relative_change.is_some());
    let empty = tempfile::tempdir().unwrap();
    let mut checkpoint = Checkpoint::open(&demo("model")).unwrap();
    checkpoint.dir = empty.path().to_path_buf();
    let registry = Registry::open(&AdapterArgs::default(), &[], &checkpoint).unwrap();
    let without = upload(&registry, "a", &neon).unwrap();
    assert_eq!(without.description().relative_change, None);
}

#[test]
fn there_are_no_more_and_no_larger_adapters_than_may_be() {
    let args = AdapterArgs { max_adapters: 1, ..AdapterArgs::default() };
    let registry = open(&args);
    let neon = fs::read(file("neon")).unwrap();
    upload(&registry, "a", &neon).unwrap();
    upload(&registry, "a", &neon).unwrap();
    let one_more = upload(&registry, "b", &neon);
    let Err(Failure::Exhausted(message)) = one_more else { panic!("{one_more:?}") };
    for part in ["at most 1 adapters", "--max-adapters", "found 'b'", "remove another"] {
        assert!(message.contains(part), "expected '{part}' in '{message}'");
    }
    registry.delete("a").unwrap();
    upload(&registry, "b", &neon).unwrap();

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("deep")).unwrap();
    fs::copy(file("neon"), dir.path().join("deep/neon.safetensors")).unwrap();
    let max_adapter_bytes = MemorySize { bytes: 1000 };
    let registry = open(&AdapterArgs { max_adapter_bytes, ..folder(&dir) });
    let large = registry.create_at(called("a"), Path::new("deep"), None);
    violates(large, "path", "expected at most 1000 bytes");
}
