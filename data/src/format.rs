//! The formats of data sets, by the names of files and by how they begin.

use std::{fmt, path::Path, str::FromStr};

use worldpm_ort_runtime::records::is_header;

/// How the rows of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One JSON value a line.
    JsonLines,
    /// One JSON list.
    Json,
    /// Cells with a separator between them, and a line of column names.
    Csv,
    /// The same with tabs.
    Tsv,
    /// Parquet.
    Parquet,
    /// A file of Arrow record batches.
    Arrow,
    /// A stream of Arrow record batches, as `datasets.save_to_disk` writes.
    ArrowStream,
}

/// How the bytes of a file are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// They are not.
    #[default]
    None,
    /// With gzip.
    Gzip,
    /// With Zstandard.
    Zstd,
}

/// Each format with the name that options have for it, and the endings of its files.
const FORMATS: [(Format, &str, &[&str]); 7] = [
    (
        Format::JsonLines,
        "jsonl",
        &["jsonl", "ndjson", "jsonlines"],
    ),
    (Format::Json, "json", &["json"]),
    (Format::Csv, "csv", &["csv"]),
    (Format::Tsv, "tsv", &["tsv", "tab"]),
    (Format::Parquet, "parquet", &["parquet", "pq"]),
    (Format::Arrow, "arrow", &["arrow", "feather", "ipc"]),
    (Format::ArrowStream, "arrow-stream", &["arrows"]),
];

/// The first bytes of compressed files.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// The first bytes of tables.
const PARQUET: &[u8] = b"PAR1";
pub(crate) const ARROW: &[u8] = b"ARROW1";
pub(crate) const ARROW_MESSAGE: &[u8] = b"\xff\xff\xff\xff";

/// Bytes that tell a file with a magic number from others.
pub(crate) const MAGIC_BYTES: usize = 6;

impl Format {
    /// The names that options have for the formats.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FORMATS.iter().map(|(_, name, _)| *name)
    }

    /// Whether rows are kept in columns with types.
    #[must_use]
    pub fn is_table(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow | Self::ArrowStream)
    }

    /// Whether it is text.
    #[must_use]
    pub fn is_text(self) -> bool {
        !self.is_table()
    }

    /// Whether cells have a separator between them.
    #[must_use]
    pub fn is_cells(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv)
    }

    /// The format and compression that the name of a file shows; of each, where it does.
    #[must_use]
    pub fn of_name(path: &Path) -> (Option<Self>, Compression) {
        let ending = |path: &Path| {
            let ending = path.extension()?.to_str()?;
            Some(ending.to_ascii_lowercase())
        };
        let compression = match ending(path).as_deref() {
            Some("gz" | "gzip") => Compression::Gzip,
            Some("zst" | "zstd") => Compression::Zstd,
            _ => Compression::None,
        };
        let bare = match compression {
            Compression::None => path.to_owned(),
            _ => path.with_extension(""),
        };
        let format = ending(&bare).and_then(|ending| {
            let mut formats = FORMATS.iter();
            formats.find(|(_, _, endings)| endings.contains(&ending.as_str()))
        });
        (format.map(|(format, ..)| *format), compression)
    }

    /// The format of a file that begins so, beside what its name says.
    pub(crate) fn of_content(beginning: &[u8], named: Option<Self>) -> Self {
        if beginning.starts_with(PARQUET) {
            return Self::Parquet;
        }
        if beginning.starts_with(ARROW) {
            return Self::Arrow;
        }
        if beginning.starts_with(ARROW_MESSAGE) {
            return Self::ArrowStream;
        }
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        match (named, first) {
            (Some(named @ (Self::Csv | Self::Tsv)), _) => named,
            (_, Some(b'[')) if named != Some(Self::JsonLines) => Self::Json,
            (_, Some(b'{' | b'[')) => Self::JsonLines,
            (_, Some(b'<')) => Self::JsonLines,
            (Some(named @ (Self::JsonLines | Self::Json)), _) => named,
            _ if has_header(text) => match separator(text) {
                b'\t' => Self::Tsv,
                _ => Self::Csv,
            },
            _ => Self::JsonLines,
        }
    }
}

impl Compression {
    /// What the first bytes of a file show.
    #[must_use]
    pub fn of_content(beginning: &[u8]) -> Self {
        match beginning {
            _ if beginning.starts_with(GZIP) => Self::Gzip,
            _ if beginning.starts_with(ZSTD) => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Whether the first bytes may be those of a magic number, so that more of them are worth waiting for.
pub(crate) fn may_be_magic(beginning: &[u8]) -> bool {
    [GZIP, ZSTD, PARQUET, ARROW, ARROW_MESSAGE]
        .iter()
        .any(|magic| magic.starts_with(&beginning[..beginning.len().min(magic.len())]))
}

/// Whether a file that begins so has a magic number that is known.
pub(crate) fn is_binary(beginning: &[u8]) -> bool {
    let known = [GZIP, ZSTD, PARQUET, ARROW, ARROW_MESSAGE];
    known.iter().any(|magic| beginning.starts_with(magic))
}

/// Whether a text begins with names of columns, some of which records have.
fn has_header(text: &[u8]) -> bool {
    first_line(text).is_some_and(|line| is_header(line, separator(text).into()))
}

/// What stands between the cells of a table whose first line is this: a comma where there is one.
pub(crate) fn separator(text: &[u8]) -> u8 {
    let line = first_line(text).unwrap_or_default();
    let mut candidates = [b',', b'\t', b';'].into_iter();
    candidates
        .find(|&candidate| line.as_bytes().contains(&candidate))
        .unwrap_or(b',')
}

fn first_line(text: &[u8]) -> Option<&str> {
    let line = text.split(|&byte| byte == b'\n').next()?;
    std::str::from_utf8(line).ok()
}

/// With an article: `a Parquet file`.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::JsonLines => "JSON Lines",
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Parquet => "Parquet",
            Self::Arrow => "an Arrow file",
            Self::ArrowStream => "a stream of Arrow batches",
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let format = FORMATS.iter().find(|(_, known, _)| *known == name);
        let format = format.map(|(format, ..)| *format);
        format.ok_or_else(|| {
            let names: Vec<_> = Self::names().collect();
            format!("no such format; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_name() {
        for (name, format, compression) in [
            ("a.jsonl", Some(Format::JsonLines), Compression::None),
            ("a.ndjson.gz", Some(Format::JsonLines), Compression::Gzip),
            ("a.JSON", Some(Format::Json), Compression::None),
            ("a.csv.zst", Some(Format::Csv), Compression::Zstd),
            ("a.tsv", Some(Format::Tsv), Compression::None),
            ("d.v1/a.parquet", Some(Format::Parquet), Compression::None),
            ("a.feather", Some(Format::Arrow), Compression::None),
            ("a.arrows", Some(Format::ArrowStream), Compression::None),
            ("a.gz", None, Compression::Gzip),
            ("jsonl", None, Compression::None),
            (".json", None, Compression::None),
            ("-", None, Compression::None),
        ] {
            assert_eq!(
                Format::of_name(Path::new(name)),
                (format, compression),
                "{name}"
            );
        }
        for name in Format::names() {
            assert!(name.parse::<Format>().is_ok());
        }
        assert!("xml".parse::<Format>().is_err());
    }

    #[test]
    fn formats_by_content() {
        use Format::*;
        for (beginning, named, expected) in [
            (&b"PAR1\x15"[..], Some(JsonLines), Parquet),
            (b"ARROW1\0\0", Some(Parquet), Arrow),
            (b"\xff\xff\xff\xff\x10", None, ArrowStream),
            (b"{\"a\":1}", None, JsonLines),
            (b"{\"a\":1}", Some(Parquet), JsonLines),
            (b"\xef\xbb\xbf \n[{", None, Json),
            (b"[{", Some(JsonLines), JsonLines),
            (b"prompt,response\n", None, Csv),
            (b"id;text\r\n", None, Csv),
            (b"id\tresponse\n", None, Tsv),
            (b"[a],prompt\n", Some(Csv), Csv),
            (b"a,b\n", Some(Csv), Csv),
            (b"a,b\n", None, JsonLines),
            (b"prompt,response\n", Some(JsonLines), JsonLines),
            (b"<html>", None, JsonLines),
            (b"", Some(Csv), Csv),
            (b"", None, JsonLines),
        ] {
            let text = String::from_utf8_lossy(beginning);
            assert_eq!(Format::of_content(beginning, named), expected, "{text:?}");
        }
    }

    #[test]
    fn more_is_waited_for_only_where_it_may_matter() {
        for (beginning, expected) in [
            (&b""[..], true),
            (b"P", true),
            (b"PA", true),
            (b"PAR1", true),
            (b"PX", false),
            (b"{", false),
            (b"\x1f", true),
            (b"\xff\xff", true),
        ] {
            assert_eq!(may_be_magic(beginning), expected, "{beginning:?}");
        }
    }
}
