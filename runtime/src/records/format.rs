//! Formats that an input may have in place of JSON.

/// A format that is not read, recognised by how it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Parquet,
    Arrow,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    Zip,
    Sqlite,
    Utf16,
    LfsPointer,
    Markup,
    Csv,
}

/// First bytes, and what they are the first bytes of.
const BEGINNINGS: [(&[u8], Format); 14] = [
    (b"PAR1", Format::Parquet),
    (b"ARROW1", Format::Arrow),
    // A stream of Arrow's messages, as data sets are cached in.
    (b"\xff\xff\xff\xff", Format::Arrow),
    (b"\x1f\x8b", Format::Gzip),
    (b"\x28\xb5\x2f\xfd", Format::Zstd),
    (b"BZh", Format::Bzip2),
    (b"\xfd7zXZ\0", Format::Xz),
    (b"PK\x03\x04", Format::Zip),
    (b"SQLite format 3\0", Format::Sqlite),
    (b"\xff\xfe", Format::Utf16),
    (b"\xfe\xff", Format::Utf16),
    (b"version https://git-lfs", Format::LfsPointer),
    (b"<", Format::Markup),
    (b"\0{", Format::Utf16),
];

/// Names of columns by which a table is recognised.
const COLUMNS: [&str; 11] = [
    "id",
    "messages",
    "prompt",
    "response",
    "chosen",
    "rejected",
    "system",
    "question",
    "answer",
    "instruction",
    "text",
];

/// Whether the first line of a text has a cell that names a column of records, which shows that it is the header of a table:
/// `prompt`, `"Text"`, `id`. A line of one cell is none.
#[must_use]
pub fn is_header(line: &str, separator: char) -> bool {
    let mut cells = line
        .split(separator)
        .map(|cell| cell.trim().trim_matches('"'));
    line.contains(separator)
        && cells.any(|cell| COLUMNS.iter().any(|name| cell.eq_ignore_ascii_case(name)))
}

impl Format {
    /// The format of an input that begins with a record that cannot be read; `None` where nothing speaks for one.
    pub(super) fn of(beginning: &[u8]) -> Option<Self> {
        let known = BEGINNINGS
            .iter()
            .find(|(first, _)| beginning.starts_with(first));
        if let Some((_, format)) = known {
            return Some(*format);
        }
        match beginning {
            // An ASCII character of two bytes.
            [b'{' | b'[' | b' ' | b'\r' | b'\n', 0, ..] => return Some(Self::Utf16),
            [b'{' | b'[', ..] => return None,
            _ => {}
        }
        let line = beginning.split(|&byte| byte == b'\n').next()?;
        let line = std::str::from_utf8(line).ok()?;
        [',', '\t', ';']
            .into_iter()
            .any(|separator| is_header(line, separator))
            .then_some(Self::Csv)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "a Parquet file",
            Self::Arrow => "an Arrow file",
            Self::Gzip => "compressed with gzip",
            Self::Zstd => "compressed with Zstandard",
            Self::Bzip2 => "compressed with bzip2",
            Self::Xz => "compressed with xz",
            Self::Zip => "a zip archive",
            Self::Sqlite => "an SQLite database",
            Self::Utf16 => "UTF-16",
            Self::LfsPointer => "a Git LFS pointer",
            Self::Markup => "XML or HTML",
            Self::Csv => "a table (CSV)",
        }
    }

    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Parquet => {
                "write it as JSON Lines first, in Python with \
                 pandas.read_parquet(FILE).to_json(OUT, orient=\"records\", lines=True)"
            }
            Self::Arrow => {
                "write it as JSON Lines first, in Python with datasets.Dataset.from_file(FILE).to_json(OUT)"
            }
            Self::Gzip => "pipe it in, as in gzip -dc FILE | worldpm-ort score …",
            Self::Zstd => "pipe it in, as in zstd -dc FILE | worldpm-ort score …",
            Self::Bzip2 => "pipe it in, as in bzip2 -dc FILE | worldpm-ort score …",
            Self::Xz => "pipe it in, as in xz -dc FILE | worldpm-ort score …",
            Self::Zip => "unpack it, and give a file of JSON Lines that is in it",
            Self::Sqlite => "write the records as JSON Lines first",
            Self::Utf16 => "convert it, as in iconv -f UTF-16 -t UTF-8 FILE",
            Self::LfsPointer => "fetch the file that it stands for, with git lfs pull",
            Self::Markup => "give JSON Lines or a JSON array",
            Self::Csv => {
                "write it as JSON Lines first, in Python with \
                 pandas.read_csv(FILE).to_json(OUT, orient=\"records\", lines=True)"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_their_beginning() {
        for (beginning, expected) in [
            (&b"PAR1\x15\x04"[..], Some(Format::Parquet)),
            (b"ARROW1\0\0", Some(Format::Arrow)),
            (b"\xff\xff\xff\xff\x10\x01\0\0", Some(Format::Arrow)),
            (b"\x1f\x8b\x08", Some(Format::Gzip)),
            (b"\x28\xb5\x2f\xfd\x04", Some(Format::Zstd)),
            (b"BZh91AY", Some(Format::Bzip2)),
            (b"\xfd7zXZ\0\0", Some(Format::Xz)),
            (b"PK\x03\x04\x14", Some(Format::Zip)),
            (b"\xff\xfe{\0\"\0", Some(Format::Utf16)),
            (b"\xfe\xff\0{", Some(Format::Utf16)),
            (b"{\0\"\0", Some(Format::Utf16)),
            (b"\0{\0\"", Some(Format::Utf16)),
            (b"<!DOCTYPE html>", Some(Format::Markup)),
            (b"prompt,chosen,rejected\na,b,c\n", Some(Format::Csv)),
            (b"\"ID\";\"Text\"\r\n", Some(Format::Csv)),
            (b"source\tresponse\n", Some(Format::Csv)),
            (b"{\"prompt\": 1", None),
            (b"[{\"prompt\", \"id\"", None),
            (b"hello", None),
            (b"hello, world", None),
            (b"prompt", None),
            (b"", None),
        ] {
            let text = String::from_utf8_lossy(beginning);
            assert_eq!(Format::of(beginning), expected, "{text:?}");
        }
    }
}
