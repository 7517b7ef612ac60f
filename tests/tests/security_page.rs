//! SECURITY.md says what is defended by which test.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_tests::repository;

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_test_that_this_page_names_exists() {
    let page = std::fs::read_to_string(repository().join("SECURITY.md")).unwrap();
    let mut count = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let shown = row.trim_end_matches('|').rsplit('|').next().unwrap();
        for part in shown.split(';') {
            let (tests, file) =
                part.rsplit_once(" in ").unwrap_or_else(|| panic!("no file: {row}"));
            let [file] = quoted(file)[..] else { panic!("expected one file in {part}") };
            let path = repository().join(file);
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
            let tests = quoted(tests);
            assert!(!tests.is_empty(), "no test: {row}");
            for test in tests {
                assert!(text.contains(&format!("fn {test}(")), "expected {test} in {file}");
                count += 1;
            }
        }
    }
    assert!(count >= 20, "{count} tests");
}

#[test]
fn every_setting_that_this_page_names_exists() {
    let read = |name: &str| std::fs::read_to_string(repository().join(name)).unwrap();
    let (page, readme) = (read("SECURITY.md"), read("README.md"));
    // Of `cogwheel generate`, which the README's table of servers does not have.
    let of_clients = ["--tls-ca"];
    for flag in quoted(&page).into_iter().filter(|word| word.starts_with("--")) {
        let name = flag.split_whitespace().next().unwrap();
        let known = readme.contains(&format!("| `{name}` |")) || of_clients.contains(&name);
        assert!(known, "expected {name} in the README's table of settings");
    }
}
