//! Printed settings.

use proptest::prelude::*;

use super::*;

#[test]
fn settings_are_printed_with_where_each_comes_from_and_without_secrets() {
    let text = printed(&format!("{WHOLE}{}", &ENTRIES[12..]), &["--max-steps", "9"]);
    for line in
        ["max_steps = 9  # flag --max-steps", "# a secret, left out", "[[tokens]]", "name = \"ci\""]
    {
        assert!(text.contains(line), "expected {line} in\n{text}");
    }
    let model = text.lines().find(|line| line.starts_with("model = ")).unwrap();
    assert!(model.contains("  # file ") && model.ends_with(":2"), "{model}");
    assert!(!text.contains("\"secret\"") && !text.contains("abcd"), "{text}");
    let text = printed("", &[]);
    for line in [
        "# model =  # required, not set",
        "form = \"text\"  # default",
        "# memory_limit =  # not set",
    ] {
        assert!(text.lines().any(|found| found == line), "expected {line} in\n{text}");
    }
}

#[test]
fn a_printed_table_without_its_secret_is_refused_and_never_taken_for_none() {
    let error = parsed(&printed(ENTRIES, &[]), &[]).unwrap_err().to_string();
    assert!(error.contains("missing field `sha256`"), "{error}");
}

proptest! {
    #[test]
    fn what_is_printed_gives_the_same_settings(
        model in "[^\0]{1,20}",
        steps in 1u32..=1000,
        bytes: u64,
        memory in proptest::option::of(1u64..),
        ratio: f64,
        release: bool,
        dirs in proptest::collection::vec("[^\0:]{0,10}", 0..4),
    ) {
        prop_assume!(!ratio.is_nan());
        let mut arguments = vec![
            format!("--model={model}"),
            format!("--max-steps={steps}"),
            format!("--cache-bytes={bytes}"),
            format!("--ratio={ratio:?}"),
        ];
        arguments.extend(memory.map(|memory| format!("--memory-limit={memory}")));
        arguments.extend(release.then(|| "--release-after-use".to_owned()));
        arguments.extend(dirs.iter().map(|dir| format!("--dir={dir}")));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let expected = sample("", &arguments);
        prop_assert_eq!(sample(&printed("", &arguments), &[]), expected);
    }
}
