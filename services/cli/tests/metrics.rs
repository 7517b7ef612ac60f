//! The table of metrics is that of the program. `COGWHEEL_WRITE_GENERATED=1` (that is `make settings`) writes it.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;

use cogwheel_service::metrics::{Entry, entries};

const BEGIN: &str = "<!-- metrics -->\n";

fn table() -> String {
    let mut table = "| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n".to_owned();
    for Entry { name, kind, unit, labels, help } in entries() {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        table += &format!("| `{name}` | {kind} | {unit} | {labels} | {help} |\n");
    }
    table
}

#[test]
fn the_table_says_what_there_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/METRICS.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, written) = text.split_once(BEGIN).unwrap();
    let table = table();
    if std::env::var_os("COGWHEEL_WRITE_GENERATED").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}")).unwrap();
        return;
    }
    assert_eq!(written, table, "`make settings` writes it");
}

#[test]
fn names_say_their_units() {
    for Entry { name, kind, unit, .. } in entries() {
        assert!(name.starts_with("cogwheel_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
        assert!(name.ends_with(unit), "{name}: expected {unit} at its end");
    }
}
