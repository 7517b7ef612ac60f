//! Tables that only the file has.

use super::*;

#[test]
fn tables_are_given_as_their_types_with_their_lines() {
    let Parsed::Run(mut config) = parsed(ENTRIES, &[]).unwrap() else { panic!("expected to run") };
    let tokens: Vec<Entry<Token>> = config.tables.take();
    let names: Vec<_> = tokens.iter().map(|t| (t.value.name.as_str(), t.place.line)).collect();
    assert_eq!(names, [("ci", 2), ("b", 10)]);
    assert_eq!(tokens[0].value.roles, ["generate", "adapters"]);
    assert_eq!(tokens[0].value.sha256, "abcd");
    assert!(!format!("{tokens:?}").contains("abcd"));
    let identities: Vec<Entry<Identity>> = config.tables.take();
    assert_eq!(identities[0].value.san, "spiffe://a");
    assert!(config.tables.take::<Identity>().is_empty());
}

#[test]
fn a_table_with_an_unknown_missing_or_wrong_field_is_refused_with_its_line() {
    for (text, line, part) in [
        ("name = 'a'\nsha256 = ''\nroles = []\nrole = ''", 7, "unknown field `role`"),
        ("name = 'a'\nroles = []", 3, "missing field `sha256`"),
        ("name = 'a'\nsha256 = 5\nroles = []", 5, "invalid type"),
        ("name = 'a'\nsha256 = ''\nroles = 'generate'", 6, "invalid type"),
    ] {
        let text = format!("model = 'm'\n\n[[tokens]]\n{text}");
        let error = SettingsFile::of_text(&text, &settings(), &TABLES).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cogwheel.toml:{line}: tokens: ")), "{error}");
        assert!(error.contains(part) && error.lines().count() == 1, "{error}");
    }
}
