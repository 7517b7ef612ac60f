//! What may stand on the command line, and what is refused with which words.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::PathBuf;

use cogwheel_cli::args::{
    AdaptersAction, Command, GenerateArgs, Invocation, SchedulerName, Switch, parse,
};
use cogwheel_service::{Exit, Fatal};
use cogwheel_tensor::Storage;

/// The least that `generate` takes.
const LEAST: &[&str] = &["generate", "--model", "m", "--prompt", "a dog", "--output", "o.mp4"];
/// The same with a server.
const REMOTE: &[&str] =
    &["generate", "--endpoint", "http://h:1", "--prompt", "a dog", "--output", "o.mp4"];

fn read(arguments: &[&[&str]]) -> Result<Invocation, Fatal> {
    let arguments = arguments.iter().copied().flatten().copied();
    parse(std::iter::once("cogwheel").chain(arguments).map(Into::into))
}

#[track_caller]
fn generate(arguments: &[&[&str]]) -> GenerateArgs {
    match read(arguments) {
        Ok(Invocation::Command(Command::Generate(args))) => *args,
        other => panic!("expected generate, found {other:?}"),
    }
}

/// Refused with exit code 2, in one line that holds `expected`.
#[track_caller]
fn refused(arguments: &[&[&str]], expected: &str) {
    let fatal = match read(arguments) {
        Err(fatal) => fatal,
        Ok(other) => panic!("expected a refusal of {arguments:?}, found {other:?}"),
    };
    assert_eq!(fatal.exit, Exit::Usage);
    assert!(fatal.message.contains(expected), "expected '{expected}' in '{}'", fatal.message);
    assert!(!fatal.message.contains('\n'), "{}", fatal.message);
    assert!(!fatal.message.starts_with("error"), "{}", fatal.message);
}

#[test]
fn every_option_of_the_contract_that_this_build_honours_is_read() {
    let args = generate(&[
        LEAST,
        &["--negative-prompt", "blurry", "--width", "720", "--height", "480"],
        &["--num-frames", "49", "--fps", "8", "--num-inference-steps", "50"],
        &["--guidance-scale", "6.0", "--scheduler", "dpm", "--dynamic-cfg", "off"],
        &["--seed", "18446744073709551615", "--num-videos", "2", "--precision", "fp32"],
        &["--execution-provider", "cpu", "--threads", "2", "--vae-tiling", "off"],
        &["--memory-limit", "8GiB", "--initial-latents", "a.safetensors"],
        &["--output-latents", "b.safetensors", "--verbose"],
    ]);
    assert_eq!((args.width, args.height, args.num_frames), (Some(720), Some(480), Some(49)));
    assert_eq!((args.fps, args.num_inference_steps), (Some(8), Some(50)));
    assert_eq!((args.guidance_scale, args.seed), (Some(6.0), Some(u64::MAX)));
    assert_eq!(args.scheduler, Some(SchedulerName::Dpm));
    assert_eq!(args.dynamic_cfg, Some(Switch::Off));
    assert_eq!(args.num_videos, Some(2));
    assert_eq!(args.memory_limit.unwrap().bytes, 8 << 30);
    assert_eq!(args.negative_prompt.as_deref(), Some("blurry"));
}

#[test]
fn what_is_not_given_is_left_to_the_model() {
    let args = generate(&[LEAST]);
    assert_eq!((args.width, args.num_frames, args.seed, args.fps), (None, None, None, None));
    assert_eq!((args.scheduler, args.dynamic_cfg, args.num_videos), (None, None, None));
}

#[test]
fn generate_is_quiet_and_serve_is_not() {
    assert_eq!(
        generate(&[LEAST]).logs.log,
        "warn,cogwheel_service=off,cogwheel_engine=off,ort=off"
    );
    match read(&[&["serve", "--model", "m"]]) {
        Ok(Invocation::Command(Command::Serve(args))) => {
            assert_eq!(args.logs.log, "info");
            assert_eq!(args.server.listen.to_string(), "127.0.0.1:50051");
        }
        other => panic!("expected serve, found {other:?}"),
    }
}

#[test]
fn options_that_cannot_be_honoured_yet_are_refused_by_name() {
    let generate: [(&[&str], &str); 2] = [
        (&["--execution-provider", "cuda"], "expected fp32, fp16 or bf16 with cuda, found auto"),
        (
            &["--execution-provider", "cuda", "--precision", "int8"],
            "--precision: this build cannot honour it: expected fp32, fp16 or bf16 with cuda, found int8",
        ),
    ];
    for (options, expected) in generate {
        refused(&[LEAST, options], expected);
    }
}

#[test]
fn an_image_and_a_video_exclude_each_other_and_strength_is_a_videos() {
    refused(&[LEAST, &["--strength", "0.8"]], "--strength: expected with --video only");
    refused(&[LEAST, &["--image", "a.png", "--video", "b.mp4"]], "cannot be used with");
    for options in [&["--image", "a.png"][..], &["--video", "b/", "--strength", "0.3"]] {
        match read(&[LEAST, options]) {
            Ok(Invocation::Command(Command::Generate(args))) => {
                assert_eq!(args.image.is_some(), options[0] == "--image");
                assert_eq!(args.strength, args.video.map(|_| 0.3));
            }
            other => panic!("expected generate, found {other:?}"),
        }
    }
}

#[test]
fn a_server_has_a_page_unless_it_is_told_otherwise() {
    for (options, expected) in [(&[][..], Switch::On), (&["--page", "off"], Switch::Off)] {
        match read(&[&["serve", "--model", "m"], options]) {
            Ok(Invocation::Command(Command::Serve(args))) => assert_eq!(args.page, expected),
            other => panic!("expected serve, found {other:?}"),
        }
    }
    refused(&[&["serve", "--model", "m"], &["--page", "maybe"]], "on, off");
}

#[test]
fn settings_of_a_server_are_not_taken_from_its_client() {
    for options in [
        ["--threads", "2"],
        ["--memory-limit", "1GB"],
        ["--precision", "fp32"],
        ["--prepack", "off"],
        ["--matrix-unit", "off"],
        ["--execution-provider", "cpu"],
        ["--vae-tiling", "on"],
        ["--vae-tiling", "off"],
    ] {
        refused(&[REMOTE, &options], options[0]);
        generate(&[LEAST, &options]);
    }
    for options in [["--precision", "auto"], ["--vae-tiling", "auto"]] {
        generate(&[REMOTE, &options]);
    }
}

#[test]
fn bad_usage_is_told_in_one_line() {
    let least_without = |option: &str| {
        let at = LEAST.iter().position(|word| *word == option).unwrap();
        [&LEAST[..at], &LEAST[at + 2..]].concat()
    };
    refused(&[&least_without("--prompt")], "--prompt");
    refused(&[&least_without("--output")], "--output");
    refused(&[&least_without("--model")], "--model");
    refused(&[LEAST, &["--endpoint", "http://h:1"]], "cannot be used with");
    refused(&[LEAST, &["--num-frames", "-5"]], "--num-frames");
    refused(&[LEAST, &["--width", "wide"]], "--width");
    refused(&[LEAST, &["--width", "4294967296"]], "--width");
    refused(&[LEAST, &["--num-videos", "0"]], "--num-videos");
    refused(&[LEAST, &["--num-videos", "1001"]], "--num-videos");
    refused(&[LEAST, &["--seed", "-1"]], "--seed");
    refused(&[LEAST, &["--scheduler", "euler"]], "ddim, dpm");
    refused(&[LEAST, &["--dynamic-cfg", "maybe"]], "on, off");
    refused(&[LEAST, &["--threads", "0"]], "--threads");
    refused(&[LEAST, &["--memory-limit", "8G"]], "8GB or 7.5GiB");
    refused(&[LEAST, &["--nonsense"]], "--nonsense");
    refused(&[LEAST, &["--promt", "x"]], "--prompt");
    refused(&[&["generate", "--endpoint", "h:1", "--prompt", "a"]], "http://127.0.0.1:50051");
    refused(&[&["serve"]], "--model");
    refused(&[&["serve", "--model", "m", "--listen", "nowhere"]], "--listen");
    refused(&[&["models", "show"]], "DIR");
    refused(&[&[]], "cogwheel --help");
    refused(&[&["models"]], "--help");
    refused(&[&["jobs"]], "jobs");
}

#[test]
fn adapters_are_read_with_their_scales() {
    let args = generate(&[
        LEAST,
        &[
            "--lora",
            "a.safetensors,scale=-0.5,alpha=8",
            "--lora",
            "b,weight-name=c.safetensors,name=n",
        ],
    ]);
    assert_eq!((args.lora[0].scale, args.lora[0].alpha), (Some(-0.5), Some(8.0)));
    assert_eq!(args.lora[1].weight_name.as_deref(), Some("c.safetensors"));
    assert_eq!(args.lora[1].name.as_deref(), Some("n"));
    let args = generate(&[REMOTE, &["--adapter", "neon=0.5", "--adapter", "bounce"]]);
    assert_eq!((args.adapter[0].name.as_str(), args.adapter[0].scale), ("neon", Some(0.5)));
    assert_eq!(args.adapter[1].scale, None);
    refused(&[LEAST, &["--adapter", "neon"]], "use --lora");
    refused(&[LEAST, &["--lora", "a,scal=1"]], "scale=");
    refused(&[REMOTE, &["--adapter", "a=x"]], "finite");
}

#[test]
fn folders_of_a_server_are_read() {
    let options = ["--data-dir", "d", "--adapter-dir", "e", "--adapter-dir", "f"];
    let variants = ["--variant-cache", "g", "--variant-memory", "8GB"];
    match read(&[&["serve", "--model", "m"], &options, &variants]) {
        Ok(Invocation::Command(Command::Serve(args))) => {
            assert_eq!(args.adapters.data_dir, Some("d".into()));
            assert_eq!(args.variants.variant_cache, Some("g".into()));
            assert_eq!(args.variants.variant_memory.unwrap().bytes, 8_000_000_000);
            assert_eq!(args.adapters.adapter_dirs, ["e", "f"].map(PathBuf::from));
        }
        other => panic!("expected serve, found {other:?}"),
    }
}

#[test]
fn actions_on_adapters_are_read() {
    let at: &[&str] = &["--endpoint", "http://h:1"];
    for action in [
        &["list"][..],
        &["list", "--json"],
        &["add", "--name", "n", "--alpha", "2", "--weight-name", "w", "p"],
        &["show", "x"],
        &["remove", "x"],
    ] {
        let read = read(&[&["adapters"], action, at]);
        assert!(matches!(read, Ok(Invocation::Command(Command::Adapters(_)))), "{read:?}");
        refused(&[&["adapters"], action], "--endpoint");
    }
    refused(&[&["adapters", "add", "--name", "a/b", "p"], at], "letters");
    refused(&[&["adapters", "remove", "a/b"], at], "letters");
    refused(&[&["adapters", "show", "x", "--alpha", "1"], at], "--alpha");
}

#[test]
fn a_merge_has_one_target_or_both() {
    const MERGE: &[&str] = &["adapters", "merge", "--model", "m", "--lora", "l"];
    let output: &[&str] = &["--output", "o"];
    let cache: &[&str] = &["--variant-cache", "c"];
    let args = |options: &[&[&str]]| match read(&[&[MERGE], options].concat()) {
        Ok(Invocation::Command(Command::Adapters(args))) => match args.action {
            AdaptersAction::Merge(args) => args,
            other => panic!("expected merge, found {other:?}"),
        },
        other => panic!("expected adapters, found {other:?}"),
    };
    args(&[output]);
    args(&[output, cache]);
    let of_denoiser = cogwheel_denoiser::AdapterSettings::default();
    let plain = args(&[cache]);
    assert_eq!(plain.variant_cache_bytes, of_denoiser.variant_cache_bytes);
    assert_eq!(plain.storage().unwrap(), Storage::Fp32);
    let stated = args(&[cache, &["--precision", "bf16", "--variant-cache-bytes", "1GB"]]);
    assert_eq!(stated.storage().unwrap(), Storage::Bf16);
    assert_eq!(stated.variant_cache_bytes.bytes, 1_000_000_000);
    refused(&[MERGE], "--output <DIR>|--variant-cache <DIR>");
    refused(&[MERGE, output, &["--precision", "fp16"]], "--variant-cache");
    refused(&[MERGE, output, &["--variant-cache-bytes", "1GB"]], "--variant-cache");
    // A server quantizes what it finds there.
    let int8 = args(&[cache, &["--precision", "int8"]]);
    assert_eq!(int8.storage().unwrap(), Storage::Fp32);
    refused(&[&["adapters", "merge", "--model", "m"], output], "--lora");
}

/// A value of any length was repeated in full, twice.
#[test]
fn what_is_repeated_of_a_long_value_is_cut_short() {
    for long in ["x".repeat(100_000), "x y ".repeat(25_000)] {
        let scale = format!("a,scale={long}");
        for wrong in [&["--lora", &scale][..], &["--width", &long], &[&format!("--{long}")]] {
            let fatal = read(&[LEAST, wrong]).unwrap_err();
            assert!(fatal.message.contains("..."), "{}", fatal.message);
            assert!(fatal.message.len() < 1000, "{}", fatal.message);
        }
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["generate", "--help"], &["help", "serve"]]
    {
        assert!(matches!(read(&[arguments]), Ok(Invocation::Text(_))), "{arguments:?}");
    }
}

/// The help of every command, and of the program.
fn helps() -> Vec<String> {
    let commands: [&[&str]; 8] = [
        &[],
        &["generate"],
        &["serve"],
        &["models"],
        &["adapters"],
        &["adapters", "merge"],
        &["doctor"],
        &["completions"],
    ];
    let help = |command: &&[&str]| match read(&[command, &["--help"]]) {
        Ok(Invocation::Text(text)) => text.to_string(),
        other => panic!("expected help of {command:?}, found {other:?}"),
    };
    commands.iter().map(help).collect()
}

#[test]
fn every_example_in_the_help_is_a_command_line() {
    let mut examples = 0;
    for help in helps() {
        let (_, examples_text) = help.split_once("Examples:\n").expect(&help);
        // A longer line is broken where it need not be read as one.
        assert!(examples_text.lines().all(|line| line.len() <= 100), "{examples_text}");
        let joined = examples_text.replace("\\\n", " ");
        for line in joined.lines().map(str::trim).filter(|line| line.starts_with("cogwheel ")) {
            let line = line.split(" > ").next().unwrap();
            let words = shell_words(line);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert!(matches!(read(&[&words[1..]]), Ok(Invocation::Command(_))), "{line}");
            examples += 1;
        }
    }
    assert!(examples >= 20, "{examples}");
}

/// Words of a line in which only single quotes are special.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn options_stand_under_headings_of_what_they_are_for() {
    for (command, headings) in [
        (
            "generate",
            &[
                "Model",
                "What to make",
                "Output",
                "Size",
                "Sampling",
                "Adapters",
                "Computing",
                "Logs",
            ][..],
        ),
        ("serve", &["Model", "Server", "Adapters", "Variants", "Computing", "Logs"]),
    ] {
        let Ok(Invocation::Text(help)) = read(&[&[command, "--help"]]) else { panic!("{command}") };
        let help = help.to_string();
        for heading in headings {
            assert!(help.contains(&format!("\n{heading}:\n")), "{heading} in {help}");
        }
        let (_, options) = help.split_once("\nOptions:\n").unwrap();
        let options = options.split("\n\n").next().unwrap();
        assert!(!options.contains("--") || options.trim().starts_with("-h, --help"), "{options}");
    }
}
