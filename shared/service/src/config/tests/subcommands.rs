//! One file for several commands.

use super::*;

#[test]
fn one_file_does_for_all_subcommands_that_take_one() {
    let root = || {
        let other = Command::new("other")
            .arg(clap::Arg::new("size").long("size").env("COGWHEEL_TEST_SIZE"));
        let plain =
            Command::new("plain").arg(clap::Arg::new("far").long("far").env("COGWHEEL_TEST_FAR"));
        Command::new("root")
            .subcommand(Sample::command().name("sample"))
            .subcommand(ConfigArgs::augment_args(other))
            .subcommand(plain)
    };
    let run = |text: &str, command: &str| {
        let file = file(text);
        let path = file.path().to_str().unwrap();
        parse(root(), &TABLES, ["root", command, "--config", path].map(OsString::from))
    };
    let text = "model = 'm'\nsize = '5'";
    let size = |parsed| match parsed {
        Ok(Parsed::Run(config)) => config
            .matches
            .subcommand()
            .and_then(|(_, matches)| matches.try_get_one::<String>("size").ok().flatten().cloned()),
        other => panic!("expected to run, found {other:?}"),
    };
    assert_eq!(size(run(text, "other")).as_deref(), Some("5"));
    assert_eq!(size(run(text, "sample")), None);
    // A command that takes no file has no part in it, nor have its settings.
    assert!(matches!(run(text, "plain"), Err(ConfigError::Usage(_))));
    assert!(matches!(run("far = '5'", "other"), Err(ConfigError::Unknown { .. })));
    assert!(matches!(run("model = 5", "other"), Err(ConfigError::Value { .. })));
}
