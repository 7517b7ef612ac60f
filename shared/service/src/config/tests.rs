mod printed;
mod subcommands;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};
use proptest::prelude::*;

use super::file::SettingsFile;
use super::*;
use crate::MemorySize;

const TABLES: [TableKind; 2] = [TableKind::of::<Token>(), TableKind::of::<Identity>()];

#[derive(Clone, Debug, PartialEq, Parser)]
struct Sample {
    #[arg(long, env = "COGWHEEL_TEST_MODEL")]
    model: PathBuf,
    #[arg(long, env = "COGWHEEL_TEST_STEPS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_steps: u32,
    #[arg(long, env = "COGWHEEL_TEST_BYTES", default_value_t = 7)]
    cache_bytes: u64,
    #[arg(long, env = "COGWHEEL_TEST_MEMORY")]
    memory_limit: Option<MemorySize>,
    #[arg(long, env = "COGWHEEL_TEST_RATIO", default_value_t = 1.0)]
    ratio: f64,
    #[arg(long, env = "COGWHEEL_TEST_RELEASE")]
    release_after_use: bool,
    #[arg(long = "dir", env = "COGWHEEL_TEST_DIRS", value_delimiter = ':')]
    dirs: Vec<String>,
    #[arg(long, env = "COGWHEEL_TEST_FORM", value_enum, default_value = "text")]
    form: Form,
    #[arg(long, env = "COGWHEEL_TEST_KEY", hide_env_values = true)]
    key: Option<String>,
    #[arg(long)]
    no_setting: Option<String>,
    #[command(flatten)]
    config: Sources,
}

/// [`ConfigArgs`], of which the settings of two samples may differ.
#[derive(Args, Clone, Debug)]
struct Sources {
    #[command(flatten)]
    args: ConfigArgs,
}

impl PartialEq for Sources {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

fn settings() -> Vec<Setting> {
    Setting::all(&Sample::command())
}

/// A file of that text, which is gone with the guard.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    file
}

fn parsed(text: &str, arguments: &[&str]) -> Result<Parsed, ConfigError> {
    let file = file(text);
    let path = file.path().to_str().unwrap();
    let arguments = ["sample", "--config", path].into_iter().chain(arguments.iter().copied());
    parse(Sample::command(), &TABLES, arguments.map(OsString::from))
}

fn sample(text: &str, arguments: &[&str]) -> Sample {
    match parsed(text, arguments).unwrap() {
        Parsed::Run(config) => Sample::from_arg_matches(&config.matches).unwrap(),
        Parsed::Print(text) => panic!("expected to run, found {text}"),
    }
}

fn printed(text: &str, arguments: &[&str]) -> String {
    match parsed(text, &[arguments, &["--print-config"]].concat()).unwrap() {
        Parsed::Print(text) => text,
        Parsed::Run(config) => panic!("expected settings, found {config:?}"),
    }
}

const WHOLE: &str = r#"
model = "a \"model\""
max_steps = 8
cache_bytes = 18446744073709551615
memory_limit = "8GiB"
ratio = 0.25
release_after_use = true
dir = ["one", "two:three"]
form = "json"
key = "secret"
"#;

#[test]
fn each_kind_of_value_is_read() {
    let found = sample(WHOLE, &[]);
    let expected = Sample {
        model: "a \"model\"".into(),
        max_steps: 8,
        cache_bytes: u64::MAX,
        memory_limit: Some(MemorySize { bytes: 8 << 30 }),
        ratio: 0.25,
        release_after_use: true,
        dirs: vec!["one".to_owned(), "two:three".to_owned()],
        form: Form::Json,
        key: Some("secret".to_owned()),
        no_setting: None,
        config: found.config.clone(),
    };
    assert_eq!(found, expected);
    let found = sample("model = 'm'\nmemory_limit = 0x10\nratio = 1\nmax_steps = 1_000", &[]);
    assert_eq!(found.memory_limit, Some(MemorySize { bytes: 16 }));
    assert_eq!((found.ratio, found.max_steps), (1.0, 1000));
}

#[test]
fn flags_go_before_the_file_and_the_file_before_defaults() {
    let found = sample(WHOLE, &["--max-steps", "9", "--dir", "four:five"]);
    assert_eq!((found.max_steps, found.ratio), (9, 0.25));
    assert_eq!(found.dirs, ["four", "five"]);
    assert_eq!(sample("model = 'm'", &[]).max_steps, 50);
}

#[test]
fn what_is_required_may_stand_in_the_file_and_must_stand_somewhere() {
    let error = parsed("", &[]).unwrap_err().to_string();
    assert!(error.contains("--model"), "{error}");
    assert_eq!(sample("model = 'm'", &[]).model, PathBuf::from("m"));
}

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    let text = format!("model = 'm'\n\n{text}");
    let error = SettingsFile::of_text(&text, &settings(), &TABLES).unwrap_err().to_string();
    assert_eq!(error, expected);
}

#[test]
fn an_unknown_key_is_told_with_its_line_and_a_near_one() {
    let unknown = "expected the name of a setting, found an unknown one";
    let near = |name, near| format!("cogwheel.toml:3: {name}: {unknown}; did you mean {near}?");
    check_refused("max_step = 1", &near("max_step", "max_steps"));
    check_refused("max-steps = 1", &near("max-steps", "max_steps"));
    check_refused("COGWHEEL_MAX_STEPS = 1", &near("COGWHEEL_MAX_STEPS", "max_steps"));
    check_refused("[[token]]\nname = ''", &near("token", "tokens"));
    check_refused("colour = 1", &format!("cogwheel.toml:3: colour: {unknown}"));
    // Neither what has no environment variable nor another file is a setting.
    check_refused("no_setting = ''", &format!("cogwheel.toml:3: no_setting: {unknown}"));
    check_refused("config = ''", &format!("cogwheel.toml:3: config: {unknown}"));
    check_refused("print_config = true", &format!("cogwheel.toml:3: print_config: {unknown}"));
    check_refused("\"a\\nb\" = 1", &format!("cogwheel.toml:3: a\\nb: {unknown}"));
}

#[test]
fn a_wrong_type_or_value_is_told_with_its_line_key_and_what_is_expected() {
    for (text, expected) in [
        ("max_steps = '8'", "max_steps: expected a whole number, found the text \"8\""),
        ("max_steps = 8.0", "max_steps: expected a whole number, found 8.0"),
        ("max_steps = true", "max_steps: expected a whole number, found true"),
        ("max_steps = [8]", "max_steps: expected a whole number, found an array"),
        ("max_steps = 2020-01-01", "max_steps: expected a whole number, found a date or time"),
        ("max_steps = 0", "max_steps: expected a whole number, found 0: 0 is not in 1..=1000"),
        ("max_steps.x = 1", "max_steps: expected a whole number, found a table"),
        (
            "cache_bytes = -1",
            "cache_bytes: expected a whole number, found -1: invalid digit found in string",
        ),
        (
            "memory_limit = '8G'",
            "memory_limit: expected a number of bytes, such as 8000000000, 8GB or 7.5GiB, found '8G'",
        ),
        (
            "memory_limit = \"a\\n\\u202e\"",
            "memory_limit: expected a number of bytes, such as 8000000000, 8GB or 7.5GiB, found 'a, \\u{202e}'",
        ),
        (
            "memory_limit = 1.5",
            "memory_limit: expected a number of bytes, or a text such as \"8GiB\", found 1.5",
        ),
        ("ratio = '1'", "ratio: expected a number, found the text \"1\""),
        ("release_after_use = 1", "release_after_use: expected true or false, found 1"),
        ("dir = 'one'", "dir: expected an array, each a text, found the text \"one\""),
        ("dir = ['one', 2]", "dir: expected a text, found 2"),
        ("form = 'xml'", "form: expected one of \"text\", \"json\", found the text \"xml\""),
        (
            "form = 'jsn'",
            "form: expected one of \"text\", \"json\", found the text \"jsn\": did you mean \"json\"?",
        ),
        ("key = 5", "key: expected a text, found 5"),
        ("tokens = 5", "tokens: expected tables, each headed [[tokens]]"),
        ("[tokens]\nname = ''", "tokens: expected tables, each headed [[tokens]]"),
    ] {
        check_refused(text, &format!("cogwheel.toml:3: {expected}"));
    }
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    for text in ["max_steps = ", "max_steps = 8\nmax_steps = 9", "max_steps", "a = \"\u{1}\"", "[["]
    {
        let text = format!("model = 'm'\n{text}");
        let error = SettingsFile::of_text(&text, &settings(), &TABLES).unwrap_err();
        assert!(matches!(error, ConfigError::Syntax { .. }), "{error}");
        let error = error.to_string();
        let line = if text.contains('9') { 3 } else { 2 };
        assert!(error.starts_with(&format!("cogwheel.toml:{line}: expected TOML: ")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_file_that_is_missing_too_long_or_no_text_is_refused() {
    let refused =
        |path: &Path| SettingsFile::read(path, &settings(), &[], &TABLES).unwrap_err().to_string();
    let missing = refused(Path::new("/no/such/file"));
    assert!(missing.contains("/no/such/file: expected a readable file of settings"), "{missing}");
    let long = refused(file(&"#".repeat((1 << 20) + 1)).path());
    assert!(long.contains("at most 1048576 bytes"), "{long}");
    let binary = file("");
    fs::write(&binary, [0xff, 0xfe]).unwrap();
    let binary = refused(binary.path());
    assert!(binary.contains("UTF-8"), "{binary}");
    // One byte less is read.
    let fits = file(&"#".repeat(1 << 20));
    assert!(SettingsFile::read(fits.path(), &settings(), &[], &TABLES).is_ok());
}

const ENTRIES: &str = "model = 'm'\n[[tokens]]\nname = 'ci'\nsha256 = 'abcd'\nroles = ['generate', 'adapters']\n\
                       [[identities]]\nname = 'web'\nsan = 'spiffe://a'\nroles = []\n[[tokens]]\n\
                       name = 'b'\nsha256 = 'ef'\nroles = []\n";

/// Text that is TOML here and there.
fn tomlish() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("max_steps = 8\n".to_owned()),
        Just("[[tokens]]\n".to_owned()),
        Just("name = 'a'\n".to_owned()),
        Just("roles = [".to_owned()),
        Just("dir = [\"a\", ".to_owned()),
        Just("]\n".to_owned()),
        "[a-z_]{1,9}",
        "[0-9.eE+_-]{1,20}",
        "[ =\\[\\]{}\"'#\\\\,.\n]{1,3}",
        ".{0,8}",
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_on_one_line(text in tomlish()) {
        if let Err(error) = SettingsFile::of_text(&text, &settings(), &TABLES) {
            let error = error.to_string();
            prop_assert_eq!(error.lines().count(), 1, "{}", error);
        }
    }
}
