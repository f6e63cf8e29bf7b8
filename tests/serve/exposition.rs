//! A strict reader of what `/metrics` says.

use std::collections::{BTreeMap, HashMap, HashSet};

/// The samples of a scrape, by name and labels as they stand there.
pub struct Exposition {
    pub samples: HashMap<String, f64>,
    pub names: HashSet<String>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Format {
    Prometheus,
    OpenMetrics,
}

impl Exposition {
    /// Panics at anything that the format does not permit.
    pub fn parse(text: &str, format: Format) -> Self {
        let text = match format {
            Format::OpenMetrics => text.strip_suffix("# EOF\n").expect("no end"),
            Format::Prometheus => text,
        };
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
        let mut this = Self {
            samples: HashMap::new(),
            names: HashSet::new(),
        };
        let (mut family, mut kind, mut helped) = (String::new(), String::new(), String::new());
        let mut families = HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(!help.is_empty(), "{line}");
                helped = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, what) = rest.split_once(' ').unwrap();
                assert_eq!(name, helped, "a family without help");
                assert!(families.insert(name.to_owned()), "{name} comes twice");
                assert!(is_name(name), "{name}");
                (family, kind) = (name.to_owned(), what.to_owned());
            } else {
                assert!(!line.starts_with('#'), "{line}");
                this.sample(line, &family, &kind, format);
            }
        }
        this.check_histograms();
        this
    }

    fn sample(&mut self, line: &str, family: &str, kind: &str, format: Format) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let value = match value {
            "+Inf" => f64::INFINITY,
            value => value.parse().expect(line),
        };
        let name = series.split('{').next().unwrap();
        let suffix = name.strip_prefix(family).unwrap_or_else(|| {
            panic!("{line}: not of the family {family}");
        });
        let open = format == Format::OpenMetrics;
        let fits = match kind {
            "gauge" => suffix.is_empty(),
            "counter" if open => suffix == "_total",
            "counter" => suffix.is_empty() && name.ends_with("_total"),
            "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
            "info" if open => suffix == "_info",
            other => panic!("{line}: of a {other}"),
        };
        assert!(fits, "{line}: of a {kind} {family}");
        if kind == "counter" || kind == "histogram" {
            assert!(value >= 0.0, "{line}");
        }
        if let Some(labels) = series
            .strip_prefix(name)
            .filter(|labels| !labels.is_empty())
        {
            let inside = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}'));
            let mut seen = HashSet::new();
            for label in split_labels(inside.expect(line)) {
                let (key, value) = label.split_once('=').expect(line);
                assert!(is_name(key) && seen.insert(key.to_owned()), "{line}");
                let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
                assert!(!value.expect(line).is_empty(), "{line}");
            }
        }
        let again = self.samples.insert(series.to_owned(), value);
        assert!(again.is_none(), "{series} comes twice");
        self.names.insert(name.to_owned());
    }

    fn check_histograms(&self) {
        let mut histograms: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (series, &value) in &self.samples {
            let Some((name, labels)) = series.split_once("_bucket{") else {
                continue;
            };
            let labels = split_labels(labels.strip_suffix('}').unwrap());
            let (bounds, others): (Vec<_>, Vec<_>) = labels
                .into_iter()
                .partition(|label| label.starts_with("le="));
            let bound = match bounds[0].trim_start_matches("le=").trim_matches('"') {
                "+Inf" => f64::INFINITY,
                bound => bound.parse().unwrap(),
            };
            let count = match others.join(",") {
                others if others.is_empty() => format!("{name}_count"),
                others => format!("{name}_count{{{others}}}"),
            };
            histograms.entry(count).or_default().push((bound, value));
        }
        assert!(!histograms.is_empty());
        for (count, mut buckets) in histograms {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by_key(|&(_, value)| value), "{count}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, self.samples[&count])));
        }
    }

    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| {
            let mut all: Vec<_> = self.samples.keys().collect();
            all.sort();
            panic!("no {series} in {all:#?}")
        })
    }
}

/// Labels, of which values may have commas.
fn split_labels(labels: &str) -> Vec<String> {
    let (mut all, mut label, mut quoted) = (Vec::new(), String::new(), false);
    let mut escaped = false;
    for c in labels.chars() {
        match c {
            ',' if !quoted => all.push(std::mem::take(&mut label)),
            c => {
                quoted ^= c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                label.push(c);
            }
        }
    }
    assert!(!quoted, "{labels}");
    all.push(label);
    all
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}
