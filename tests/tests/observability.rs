//! The dashboard and the alert rules name only metrics that there are, by labels that these have.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;

use cogwheel_service::metrics::{Entry, entries};
use cogwheel_tests::repository;
use serde_json::Value;

/// Labels that come from the scrape.
const OF_THE_SCRAPE: [&str; 4] = ["pod", "instance", "job", "namespace"];

fn read(name: &str) -> String {
    fs::read_to_string(repository().join("k8s/observability").join(name)).unwrap()
}

/// Every metric in an expression, with its entry.
fn metrics(expression: &str) -> Vec<&'static Entry> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c| !is_part(c)).filter(|word| word.starts_with("cogwheel_"));
    let entry = |word: &str| {
        let of = |entry: &&Entry| match entry.kind {
            "histogram" => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|suffix| word.strip_suffix(suffix) == Some(&entry.name)),
            _ => word == entry.name,
        };
        entries().iter().find(of).unwrap_or_else(|| panic!("{word} is not exported: {expression}"))
    };
    words.map(entry).collect()
}

/// The labels that an expression groups by.
fn groups(expression: &str) -> impl Iterator<Item = &str> {
    let groups = expression.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    groups.flat_map(|group| group.split(',')).map(str::trim).filter(|label| !label.is_empty())
}

/// What is before each selector's braces, and the labels in them.
fn selectors(expression: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    expression.match_indices('{').map(|(at, _)| {
        let matchers = expression[at + 1..].split('}').next().unwrap().split(',');
        let labels = matchers.filter_map(|matcher| matcher.split(['=', '!']).next());
        (&expression[..at], labels.map(str::trim).filter(|label| !label.is_empty()).collect())
    })
}

#[track_caller]
fn check(expression: &str) {
    let metrics = metrics(expression);
    assert!(!metrics.is_empty(), "{expression}");
    let has = |entry: &Entry, label: &str| {
        let bound = label == "le" && entry.kind == "histogram";
        entry.labels.contains(&label) || bound || OF_THE_SCRAPE.contains(&label)
    };
    for label in groups(expression) {
        assert!(metrics.iter().any(|entry| has(entry, label)), "{label}: {expression}");
    }
    for (before, labels) in selectors(expression) {
        let metric = *self::metrics(before).last().unwrap();
        for label in labels {
            assert!(has(metric, label), "{} has no {label}: {expression}", metric.name);
        }
    }
    for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
        let [opened, closed] = [open, close].map(|bracket| expression.matches(bracket).count());
        assert_eq!(opened, closed, "{expression}");
    }
}

#[test]
fn every_panel_shows_what_is_exported() {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = Vec::new();
    for panel in panels {
        ids.push(panel["id"].as_u64().unwrap());
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            check(target["expr"].as_str().unwrap());
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "panels have ids of their own");
    let shown: String = panels.iter().map(Value::to_string).collect();
    for Entry { name, .. } in entries() {
        assert!(shown.contains(name.as_str()), "no panel shows {name}");
    }
}

#[test]
fn every_alert_is_of_what_is_exported_and_says_what_to_do() {
    let text = read("alerts.yaml");
    let rules: Vec<_> = text.split("- alert: ").skip(1).collect();
    assert!(rules.len() > 5);
    for rule in rules {
        // On the line, or on those after it that are further in.
        let (_, rest) = rule.split_once("expr: ").unwrap();
        let expression = match rest.strip_prefix("|\n") {
            Some(block) => block.lines().take_while(|l| l.starts_with("          ")).collect(),
            None => rest.lines().next().unwrap().to_owned(),
        };
        check(&expression);
        for part in ["severity: ", "summary: ", "description: "] {
            assert!(rule.contains(part), "expected {part} in {rule}");
        }
    }
}
