use std::collections::{BTreeMap, BTreeSet};

use crate::Http1Answer;

/// What an admin port's `/metrics` said.
#[derive(Debug)]
pub struct Metrics {
    /// `counter`, `gauge` or `histogram`, by name.
    pub kinds: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Asks an admin port, `HOST:PORT`.
    ///
    /// # Panics
    /// When it says something other than Prometheus' text form.
    pub fn of(admin: &str) -> Self {
        let answer = Http1Answer::get(admin, "/metrics");
        let form = "content-type: text/plain; version=0.0.4";
        assert!(answer.head.contains(form), "{}", answer.head);
        let (status, text) = answer.told();
        assert_eq!(status, 200);
        let (mut kinds, mut samples) = (BTreeMap::new(), Vec::new());
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["#", "TYPE", name, kind] => drop(kinds.insert(name.to_owned(), kind.to_owned())),
                ["#", ..] => {}
                _ => samples.push(sample(line)),
            }
        }
        Self { kinds, samples }
    }

    /// The names of a metric's labels, all of its series together.
    pub fn labels(&self, name: &str) -> BTreeSet<&str> {
        let names = self.series(name).flat_map(|sample| sample.labels.keys());
        names.map(String::as_str).filter(|&label| label != "le").collect()
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The sum of a metric's series that have these labels, among others. Of a histogram, `NAME_count` and `NAME_sum`.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let of = |label: &str| sample.labels.get(label).map(String::as_str);
            sample.name == name && labels.iter().all(|&(label, value)| of(label) == Some(value))
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }

    fn series(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| {
            let rest = sample.name.strip_prefix(name);
            rest.is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
        })
    }
}

/// `name{label="value",...} value`; no value here has a comma or quote in it.
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let pairs = labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty());
    let labels = pairs.map(|pair| {
        let (label, value) = pair.split_once('=').unwrap();
        (label.to_owned(), value.trim_matches('"').to_owned())
    });
    Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().unwrap() }
}
