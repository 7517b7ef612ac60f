//! Adapters from files and of a server, on the command line.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn demo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(path)
}

fn neon() -> String {
    demo("adapters/neon").to_str().unwrap().to_owned()
}

fn cogwheel(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cogwheel")).args(arguments).output().unwrap()
}

/// A short generation of frames as they are; gives them and what was told.
#[track_caller]
fn frames(folder: &Path, model: &Path, arguments: &[&str]) -> (Vec<u8>, String) {
    let output = folder.join("frames.safetensors");
    let model = model.to_str().unwrap();
    let at = if model.starts_with("http:") { "--endpoint" } else { "--model" };
    let prompt = "a red circle moving left on a dark background";
    let mut all = vec!["generate", "--prompt", prompt, "--seed", "1", at, model];
    all.extend(["--num-inference-steps", "2", "--num-frames", "9"]);
    all.extend(["--output", output.to_str().unwrap()]);
    all.extend(arguments);
    let ended = cogwheel(&all);
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{told}");
    (fs::read(output).unwrap(), told)
}

/// The digits of the variant that a video was made with, where it was told.
fn variant(told: &str) -> Option<&str> {
    let told = told.lines().find_map(|line| line.strip_prefix("made with variant "))?;
    told.split(',').next()
}

#[track_caller]
fn refused(output: &Output, expected: &str) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
    assert!(error.contains(expected), "expected '{expected}' in '{error}'");
}

#[track_caller]
fn told(output: Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_adapter_changes_the_video_and_what_was_found_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let model = demo("model");
    let (base, of_base) = frames(folder.path(), &model, &[]);
    let lora = format!("{},name=glow,scale=0.5", neon());
    let (glowing, notes) = frames(folder.path(), &model, &["--lora", &lora]);
    assert!(base != glowing);
    let found = "note: adapter glow: diffusers layout, ";
    assert!(notes.contains(found) && notes.contains("scale 0.5"), "{notes}");
    assert!(variant(&notes).is_some_and(|id| id.len() == 16), "{notes}");
    let (off, notes) = frames(folder.path(), &model, &["--lora", &format!("{},scale=0", neon())]);
    assert!(base == off);
    assert_eq!((variant(&notes), variant(&of_base)), (None, None));
    let twice = format!("{},scale=0.25", neon());
    let both = ["--lora", &twice, "--lora", &format!("{twice},name=again")];
    let (both, _) = frames(folder.path(), &model, &both);
    assert!(both != base);
}

#[test]
fn bad_adapters_are_refused_before_any_weight_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.safetensors");
    fs::write(&broken, "nothing of the sort").unwrap();
    let pickle = folder.path().join("old.bin");
    fs::write(&pickle, "").unwrap();
    let output = folder.path().join("a.mp4");
    let generate = |source: &[&str], lora: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
        // Nothing of this gets as far as the runtime, so it must not matter that there is none.
        command.env("ORT_DYLIB_PATH", "/nonexistent");
        command.args(["generate", "--prompt", "x", "--lora", lora, "--output"]).arg(&output);
        command.args(source).output().unwrap()
    };
    let model = demo("model");
    let other = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data/adapters/attention.safetensors");
    let other = other.to_str().unwrap();
    for source in [["--model", model.to_str().unwrap()], ["--endpoint", "http://127.0.0.1:1"]] {
        refused(&generate(&source, broken.to_str().unwrap()), "broken.safetensors");
        refused(&generate(&source, pickle.to_str().unwrap()), "pickle");
        refused(&generate(&source, "/none"), "/none");
        refused(&generate(&source, &format!("{},weight-name=none", neon())), "'none'");
    }
    refused(&generate(&["--model", model.to_str().unwrap()], other), "expected an adapter for");
    let mut twice = vec!["generate", "--prompt", "x", "--model", model.to_str().unwrap()];
    let neon = neon();
    let same = ["--lora", &neon, "--lora", &neon, "--output", output.to_str().unwrap()];
    twice.extend(same);
    let twice = cogwheel(&twice);
    refused(&twice, "again");
    let merge = ["adapters", "merge", "--model", model.to_str().unwrap()];
    assert_eq!(cogwheel(&[&merge[..], &same].concat()).stderr, twice.stderr);
    assert!(!output.exists());
}

#[test]
fn a_file_is_shown_beside_a_model_without_a_server() {
    let model = demo("model");
    let show = ["adapters", "show", &neon(), "--model", model.to_str().unwrap()];
    let text = told(cogwheel(&show));
    assert!(text.contains("layout    diffusers") && text.contains("rank"), "{text}");
    let json = told(cogwheel(&[&show[..], &["--json", "--alpha", "3"]].concat()));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["alphas"][0]["alpha"], 3.0);
    assert_eq!(
        (&json["alphas"][0]["source"], &json["stated_alpha"]),
        (&"stated".into(), &3.0.into())
    );
    assert_eq!(json["digest"].as_str().unwrap().len(), 64);
}

#[test]
fn a_merged_transformer_is_a_model_that_gives_what_the_adapters_give() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("merged");
    copy_folder(&demo("model"), &model);
    fs::remove_dir_all(model.join("transformer")).unwrap();
    let output = model.join("transformer");
    let base = demo("model");
    let lora = format!("{},scale=0.7", neon());
    let merge =
        ["adapters", "merge", "--model", base.to_str().unwrap(), "--lora", &lora, "--output"];
    let merge = [&merge[..], &[output.to_str().unwrap()]].concat();
    assert_eq!(told(cogwheel(&merge)), format!("{}\n", output.display()));
    let names: Vec<_> =
        fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(
        fs::read(output.join("config.json")).unwrap(),
        fs::read(base.join("transformer/config.json")).unwrap()
    );
    // The demo checkpoint is in fp16: computed so, a variant is rounded as the merged file is.
    let (merged, _) = frames(folder.path(), &model, &["--precision", "fp16"]);
    let (variant, _) = frames(folder.path(), &base, &["--precision", "fp16", "--lora", &lora]);
    assert!(merged == variant);
    // Nothing that is there is written over, and nothing is left beside it.
    refused(&cogwheel(&merge), "expected a folder that is not there yet");
    let left = fs::read_dir(&model).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with('.')));
}

#[test]
fn a_server_reads_from_its_cache_what_was_merged_for_it() {
    let [folder, cache] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let path = |folder: &tempfile::TempDir| folder.path().to_str().unwrap().to_owned();
    let (model, lora, cache_path) = (demo("model"), format!("{},scale=0.7", neon()), path(&cache));
    let with_output = format!("{}/merged", path(&folder));
    for (precision, output) in [(&[][..], None), (&["--precision", "fp16"], Some(&with_output))] {
        let options = [precision, &["--variant-cache", &cache_path]].concat();
        let mut merge = vec!["adapters", "merge", "--model", model.to_str().unwrap()];
        merge.extend(["--lora", &lora]);
        merge.extend(&options);
        merge.extend(output.iter().flat_map(|output| ["--output", output.as_str()]));
        let expected: String =
            output.into_iter().chain([&cache_path]).map(|made| format!("{made}\n")).collect();
        assert_eq!(told(cogwheel(&merge)), expected);

        let (server, endpoint) = serve(&demo("adapters"), &options);
        let at = PathBuf::from(&endpoint);
        let (cached, notes) = frames(folder.path(), &at, &["--adapter", "neon=0.7"]);
        assert!(!notes.contains("merging adapters"), "{notes}");
        let (_, other) = frames(folder.path(), &at, &["--adapter", "neon=0.6"]);
        assert!(other.contains("merging adapters: 58 of 58 tensors"), "{other}");
        drop(server);
        let here = [precision, &["--lora", &lora]].concat();
        assert!(frames(folder.path(), &model, &here).0 == cached);
        let names = fs::read_dir(cache.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(names.into_iter().any(|name| name.starts_with(variant(&notes).unwrap())));
    }
    assert!(Path::new(&with_output).join("config.json").is_file());
    // What is noted is no part of a refusal.
    let refuses = |lora: &str, cache: &str, expected: &str| {
        let lora = format!("{lora},alpha=8");
        let merge = ["adapters", "merge", "--model", model.to_str().unwrap(), "--lora", &lora];
        refused(&cogwheel(&[&merge[..], &["--variant-cache", cache]].concat()), expected);
    };
    let nothing = format!("{},scale=0", neon());
    refuses(&nothing, &cache_path, "expected adapters that change the model");
    refuses(&lora, &format!("{with_output}/config.json"), "expected a folder to write in");
}

#[test]
fn a_server_keeps_what_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (server, endpoint) = serve(&demo("adapters"), &[]);
    let at = ["--endpoint", endpoint.as_str()];
    let adapters = |arguments: &[&str]| cogwheel(&[&["adapters"], arguments, &at[..]].concat());
    let list = told(adapters(&["list"]));
    assert!(list.contains("bounce") && list.contains("neon"), "{list}");
    let added = told(adapters(&["add", &neon(), "--name", "glow", "--alpha", "2"]));
    assert!(added.contains("glow") && added.contains("stated"), "{added}");
    let unnamed = told(adapters(&["add", &neon()]));
    let digest = unnamed.lines().find_map(|line| line.strip_prefix("digest    ")).unwrap();
    let json = told(adapters(&["list", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names: Vec<_> = json.as_array().unwrap().iter().map(|adapter| &adapter["name"]).collect();
    assert!(names.contains(&&digest[..16].into()), "{names:?}");
    refused(&adapters(&["add", &neon(), "--name", "glow"]), "stands for");
    refused(&adapters(&["show", "none"]), "'none'");
    assert_eq!(told(adapters(&["remove", "glow"])), "glow: removed\n");
    assert_eq!(told(adapters(&["remove", "glow"])), "glow: was not there\n");

    let at = PathBuf::from(&endpoint);
    let (named, _) = frames(folder.path(), &at, &["--adapter", "neon=0.5"]);
    let lora = format!("{},scale=0.5", neon());
    let (sent, notes) = frames(folder.path(), &at, &["--lora", &lora]);
    assert!(named == sent);
    assert!(notes.contains(&format!("note: adapter {}: ", &digest[..16])), "{notes}");
    let (local, _) = frames(folder.path(), &demo("model"), &["--lora", &lora]);
    assert!(local == sent);
    let output = folder.path().join("a.mp4");
    let unknown = ["generate", "--prompt", "x", "--adapter", "noen", "--endpoint", &endpoint];
    let unknown = [&unknown[..], &["--output", output.to_str().unwrap()]].concat();
    refused(&cogwheel(&unknown), "such as 'neon'");
    drop(server);
}

#[test]
fn a_comparison_has_the_video_without_the_adapters_on_the_left() {
    let folder = tempfile::tempdir().unwrap();
    let model = demo("model");
    let picture = |name: &str, arguments: &[&str]| {
        let output = format!("{}/", folder.path().join(name).display());
        let mut all = vec!["generate", "--prompt", "a red circle", "--seed", "1", "--model"];
        all.extend([model.to_str().unwrap(), "--num-inference-steps", "2", "--num-frames", "9"]);
        all.extend(["--output", &output]);
        all.extend(arguments);
        told(cogwheel(&all));
        // And what it was made of.
        assert_eq!(fs::read_dir(&output).unwrap().count(), 9 + 1);
        pixels(&Path::new(&output).join("00008.png"))
    };
    let neon = neon();
    let lora = ["--lora", neon.as_str()];
    let (side, left) = picture("left", &[]);
    let (_, right) = picture("right", &lora);
    let (width, both) = picture("both", &[&lora[..], &["--compare"]].concat());
    assert_eq!(width, 2 * side);
    let row = 3 * side as usize;
    let rows = left.chunks(row).zip(right.chunks(row));
    let expected: Vec<u8> = rows.flat_map(|(left, right)| [left, right].concat()).collect();
    assert!(both == expected);

    let clip = folder.path().join("clip.mp4");
    let mut clips =
        vec!["generate", "--prompt", "x", "--model", model.to_str().unwrap(), "--compare"];
    clips.extend(["--num-inference-steps", "1", "--num-frames", "9", "--output"]);
    clips.push(clip.to_str().unwrap());
    refused(&cogwheel(&clips), "expected --lora or --adapter");
    clips.extend(lora);
    told(cogwheel(&clips));
    assert_eq!(&fs::read(&clip).unwrap()[4..8], b"ftyp");
    refused(&cogwheel(&[&clips[..], &["--num-videos", "2"]].concat()), "expected one video");
    let tensors = folder.path().join("a.safetensors");
    let place = clips.iter().position(|word| *word == clip.to_str().unwrap()).unwrap();
    clips[place] = tensors.to_str().unwrap();
    refused(&cogwheel(&clips), "found .safetensors");
    // Together they are wider than MP4 can have, either alone is not.
    clips[place] = clip.to_str().unwrap();
    fs::remove_file(&clip).unwrap();
    let wide = cogwheel(&[&clips[..], &["--width", "2048", "--height", "16"]].concat());
    assert_eq!(wide.status.code(), Some(2), "{wide:?}");
    assert!(String::from_utf8(wide.stderr).unwrap().contains("side by side"));
    assert!(!clip.exists());
}

/// Width and bytes of a picture.
fn pixels(path: &Path) -> (u32, Vec<u8>) {
    let decoder = png::Decoder::new(BufReader::new(fs::File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    bytes.truncate(info.buffer_size());
    (info.width, bytes)
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(adapters: &Path, options: &[&str]) -> (Server, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cogwheel"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--model"]);
    command.arg(demo("model")).arg("--adapter-dir").arg(adapters).args(options);
    let mut server = Server(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let line = log.find_map(|line| line.ok().filter(|line| line.contains("\"listening\"")));
    let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
    // A full pipe would stop the server.
    std::thread::spawn(move || log.for_each(drop));
    (server, format!("http://{}", line["address"].as_str().unwrap()))
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
