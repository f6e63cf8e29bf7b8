//! Long texts in bounded memory.
//!
//! The tokenizer takes more than a hundred bytes of memory for each byte of a text. Two facts about the tokenizers of
//! published models keep that from mattering. No token stands for more bytes than the longest entry of the vocabulary has,
//! so a text has at least so many tokens. And where a text is divided into words by a pattern that looks at a word and one
//! character more, as those of byte-level tokenizers do, it may be encoded in pieces that begin where words do.

pub(super) mod known;

use std::borrow::Cow;

use tokenizers::Encoding;

use super::error::TextError;

/// Bytes that are encoded at once. A shorter text is encoded whole.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// The longest text that is encoded whole where nothing is known of the tokenizer: some 260 MB of memory. At four bytes for a
/// token that is half a million tokens, more than models take.
const WHOLE_BYTES: usize = 2 << 20;

/// Bytes of a text to a byte of its normalised form, at most: NFC makes one syllable of Hangul, three bytes, of three
/// letters, nine bytes.
const COMPOSED: usize = 4;

/// What is known of a tokenizer's way with long texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LongTexts {
    /// The most bytes of a normalised text that a token stands for, where that is known.
    token_bytes: Option<usize>,
    /// Whether normalising may take characters together.
    composes: bool,
    /// Whether a special token takes the white space beside it, however much that is.
    takes_space: bool,
    /// Whether a text may be encoded in pieces.
    in_pieces: bool,
    /// Bytes of a piece.
    piece: usize,
    /// Bytes at the end of a piece that what follows may change.
    margin: usize,
}

/// Tokens of a part of a text.
pub(super) struct Piece<'a> {
    pub(super) ids: &'a [u32],
    /// Their bytes, from where the piece begins.
    pub(super) ranges: &'a [(usize, usize)],
    /// The byte at which the piece begins.
    pub(super) start: usize,
}

impl<'a> Piece<'a> {
    fn new(encoding: &'a Encoding, tokens: usize, start: usize) -> Self {
        let (ids, ranges) = (encoding.get_ids(), encoding.get_offsets());
        Self {
            ids: ids.get(..tokens).unwrap_or(ids),
            ranges: ranges.get(..tokens).unwrap_or(ranges),
            start,
        }
    }
}

impl LongTexts {
    /// A number of tokens that `text` has at least, found without encoding it.
    pub(super) fn least_tokens(&self, text: &str) -> usize {
        let Some(token_bytes) = self.token_bytes else {
            return 0;
        };
        let space: usize = match self.takes_space {
            true => text.matches(char::is_whitespace).map(str::len).sum(),
            false => 0,
        };
        let bytes = if self.composes {
            let plain = text.bytes().filter(u8::is_ascii).count();
            plain + (text.len() - plain) / COMPOSED
        } else {
            text.len()
        };
        bytes.saturating_sub(space) / token_bytes
    }

    /// A text without what lies between its first and its last `tokens` tokens, and some more of them.
    pub(super) fn two_ends<'a>(&self, text: &'a str, tokens: usize) -> Cow<'a, str> {
        let tail = |bytes| text.len().saturating_sub(bytes);
        let head = self.bytes_of(text.bytes(), tokens);
        let tail = self.bytes_of(text.bytes().rev(), tokens).map(tail);
        let ends = head.zip(tail).and_then(|(head, tail)| {
            let head = text.get(..text.ceil_char_boundary(head))?;
            let tail = text.get(text.floor_char_boundary(tail)..)?;
            (head.len() + tail.len() < text.len()).then(|| [head, tail].concat())
        });
        ends.map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// How many of these bytes have more than `tokens` tokens for sure; `None` where not all of them do.
    fn bytes_of(&self, bytes: impl Iterator<Item = u8>, tokens: usize) -> Option<usize> {
        if self.takes_space {
            return None;
        }
        let wanted = tokens.saturating_add(1).checked_mul(self.token_bytes?)?;
        let (mut plain, mut composed) = (0, 0);
        for (place, byte) in bytes.enumerate() {
            match self.composes && !byte.is_ascii() {
                true => composed += 1,
                false => plain += 1,
            }
            if plain + composed / COMPOSED >= wanted {
                return Some(place + 1);
            }
        }
        None
    }

    /// Encodes a text, in pieces where it is long and the tokenizer allows it. `take` is given one piece after another, and
    /// says whether to go on.
    ///
    /// # Errors
    ///
    /// Those of `encode`, and [`TextError::TextTooLarge`] for a text that would have to be encoded whole and is too long
    /// for that.
    pub(super) fn encode(
        &self,
        text: &str,
        encode: impl Fn(&str) -> Result<Encoding, TextError>,
        mut take: impl FnMut(Piece<'_>) -> bool,
    ) -> Result<(), TextError> {
        let is_unbounded = self.token_bytes.is_none() || self.takes_space;
        if !self.in_pieces && is_unbounded && text.len() > WHOLE_BYTES {
            return Err(TextError::TextTooLarge {
                bytes: text.len(),
                limit: WHOLE_BYTES,
            });
        }
        let mut rest = text;
        let mut bytes = self.piece;
        loop {
            let end = rest.floor_char_boundary(bytes);
            let piece = match rest.get(..end) {
                Some(piece) if self.in_pieces && end < rest.len() => piece,
                _ => {
                    let encoding = encode(rest)?;
                    take(Piece::new(
                        &encoding,
                        encoding.len(),
                        text.len() - rest.len(),
                    ));
                    return Ok(());
                }
            };
            let encoding = encode(piece)?;
            let Some((tokens, at)) = self.last_beginning(piece, &encoding) else {
                // A word that is longer than the piece.
                bytes = bytes.saturating_mul(4);
                continue;
            };
            if !take(Piece::new(&encoding, tokens, text.len() - rest.len())) {
                return Ok(());
            }
            rest = rest.get(at..).unwrap_or_default();
            bytes = self.piece;
        }
    }

    /// The last token of a piece, and its byte, at which the rest of the text may be encoded anew.
    fn last_beginning(&self, piece: &str, encoding: &Encoding) -> Option<(usize, usize)> {
        let last = piece.len().checked_sub(self.margin)?;
        let (words, ranges) = (encoding.get_word_ids(), encoding.get_offsets());
        (1..ranges.len()).rev().find_map(|token| {
            let (before, this) = (ranges[token - 1], ranges[token]);
            // Where ranges leave a gap, white space was left out of one of them.
            let begins = words[token - 1] != words[token] && before.1 == this.0;
            let at = this.0;
            (begins && at > 0 && at <= last && self.starts_apart(piece.get(at..)?))
                .then_some((token, at))
        })
    }

    /// Whether the first character of a text is never composed with the one before it.
    fn starts_apart(&self, text: &str) -> bool {
        !self.composes
            || text.chars().next().is_some_and(|c| {
                // Neither marks nor parts of syllables are among these.
                c.is_ascii()
                    || matches!(c, 'À'..='ÿ' | 'А'..='я' | 'ぁ'..='ん' | 'ァ'..='ン')
                    || matches!(c, '\u{2010}'..='\u{2026}' | '\u{3001}'..='\u{3020}' | '！'..='～')
                    || matches!(c, '\u{3400}'..='\u{9fff}' | '가'..='힣')
            })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, path::Path, sync::OnceLock};

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tokenizers::Tokenizer;

    use super::*;

    fn tokenizer_json() -> Value {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        let path = models.join("tokenizers/qwen2.5/tokenizer.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn open(file: &Value) -> (Tokenizer, LongTexts) {
        let bytes = serde_json::to_vec(file).unwrap();
        let tokenizer = Tokenizer::from_bytes(&bytes).unwrap();
        let settings = serde_json::from_slice(&bytes).unwrap();
        let long = LongTexts::of(&settings, &tokenizer);
        (tokenizer, long)
    }

    fn qwen() -> &'static (Tokenizer, LongTexts) {
        static QWEN: OnceLock<(Tokenizer, LongTexts)> = OnceLock::new();
        QWEN.get_or_init(|| open(&tokenizer_json()))
    }

    /// The ids of a text in pieces of so many bytes, and their ranges.
    fn in_pieces(text: &str, piece: usize) -> (Vec<u32>, Vec<(usize, usize)>, usize) {
        let (tokenizer, long) = qwen();
        let long = LongTexts { piece, ..*long };
        let (mut ids, mut ranges, mut pieces) = (Vec::new(), Vec::new(), 0);
        let encode = |piece: &str| Ok(tokenizer.encode(piece, false).unwrap());
        long.encode(text, encode, |piece| {
            pieces += 1;
            ids.extend_from_slice(piece.ids);
            let moved = |range: &(usize, usize)| (piece.start + range.0, piece.start + range.1);
            ranges.extend(piece.ranges.iter().map(moved));
            true
        })
        .unwrap();
        (ids, ranges, pieces)
    }

    #[test]
    fn what_is_known_of_published_tokenizers() {
        let (_, long) = qwen();
        assert_eq!(long.token_bytes, Some(128));
        assert!(long.in_pieces && long.composes);
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        assert!(models.join("tokenizers").read_dir().unwrap().count() >= 1);
    }

    /// What is not known to be safe is not believed to be.
    #[test]
    fn settings_that_change_a_text_are_not_trusted() {
        type Change = fn(&mut Value);
        let strip: Change = |file| {
            file["normalizer"] = json!({"type": "Strip", "strip_left": true, "strip_right": true})
        };
        let lower: Change = |file| file["normalizer"] = json!({"type": "Lowercase"});
        let regex: Change = |file| {
            file["normalizer"] =
                json!({"type": "Replace", "pattern": {"Regex": " +"}, "content": " "});
        };
        let removed: Change = |file| {
            file["pre_tokenizer"]["pretokenizers"][0]["behavior"] = json!("Removed");
        };
        let spaces: Change = |file| file["added_tokens"][0]["lstrip"] = json!(true);
        for (name, change, knows, pieces) in [
            ("nothing", (|_| {}) as Change, true, true),
            ("strip", strip, false, false),
            ("lower", lower, false, false),
            ("a pattern", regex, false, false),
            ("removed", removed, false, false),
            ("lstrip", spaces, true, false),
            (
                "another pattern",
                |file| {
                    file["pre_tokenizer"]["pretokenizers"][0]["pattern"] =
                        json!({"Regex": "(?<=a)b|."});
                },
                true,
                false,
            ),
            (
                "a space in front",
                |file| {
                    file["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = json!(true);
                },
                true,
                false,
            ),
        ] {
            let mut file = tokenizer_json();
            change(&mut file);
            let (_, long) = open(&file);
            assert_eq!(long.token_bytes.is_some(), knows, "{name}");
            assert_eq!(long.in_pieces, pieces, "{name}");
        }
    }

    #[test]
    fn pieces_give_the_ids_of_the_whole() {
        let (tokenizer, _) = qwen();
        for unit in [
            "The quick brown fox's 12345 jumps.\n\n  Over\t\tlazy dogs!  ",
            "word<|im_end|>\n<|im_start|>user\n",
            "漢字かな交じり文。",
            "e\u{301}a\u{308}o ",
            "    ",
            "<|endoftext|>",
            "0123456789",
            "👨\u{200d}👩\u{200d}👧 ",
        ] {
            let text = unit.repeat(3 * PIECE_BYTES / unit.len());
            let whole = tokenizer.encode(text.as_str(), false).unwrap();
            let (ids, ranges, pieces) = in_pieces(&text, PIECE_BYTES);
            assert!(ids == whole.get_ids(), "{unit:?}");
            assert!(ranges == whole.get_offsets(), "{unit:?}");
            let one_word = unit.trim().is_empty();
            assert_eq!(pieces == 1, one_word, "{unit:?}: {pieces} pieces");
        }
    }

    /// A token that takes the white space beside it stands for any number of bytes, and nothing else does.
    #[test]
    fn white_space_beside_a_token_counts_for_nothing() {
        let mut file = tokenizer_json();
        for token in file["added_tokens"].as_array_mut().unwrap() {
            token["lstrip"] = json!(true);
            token["rstrip"] = json!(true);
        }
        let (tokenizer, long) = open(&file);
        for (text, least) in [
            (" <|im_end|>\u{3000}\n".repeat(20_000), 1_200),
            (format!("{}<|im_end|>", " ".repeat(100_000)), 0),
            ("word <|im_end|>\t\u{a0}".repeat(20_000), 1_900),
            ("é\u{301}  ".repeat(100_000), 700),
        ] {
            let found = long.least_tokens(&text);
            let whole = tokenizer.encode(text.as_str(), false).unwrap();
            assert!(found <= whole.len(), "{found} of {}", whole.len());
            assert!(found >= least, "{found}");
            assert_eq!(long.two_ends(&text, 10).len(), text.len());
        }
        // What nothing bounds is not encoded whole.
        let text = " ".repeat(WHOLE_BYTES + 1);
        let encode = |_: &str| panic!("encoded whole");
        let error = long.encode(&text, encode, |_| true).unwrap_err();
        assert!(matches!(error, TextError::TextTooLarge { .. }), "{error}");
    }

    fn texts() -> impl Strategy<Value = String> {
        let parts = prop_oneof![
            4 => "[a-z]{1,9} ",
            2 => " {1,9}",
            1 => "[\r\n\t ]{1,9}",
            2 => "\\PC{1,9}",
            1 => "[0-9]{1,9}",
            1 => "[!-/]{1,9}",
            1 => "[가-깋ᄀ-ᄂ\u{1161}-\u{1169}\u{300}-\u{304}ぁ-ん]{1,9}",
            1 => Just("<|im_end|>".to_owned()),
            1 => Just("'ll".to_owned()),
        ];
        prop::collection::vec((parts, 1..200_usize), 1..400).prop_map(|parts| {
            parts
                .iter()
                .map(|(part, times)| part.repeat(*times))
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_long_text_has_the_ids_of_the_whole_and_no_fewer_tokens_than_said(
            text in texts(),
            piece in 200..5000_usize,
        ) {
            let (tokenizer, long) = qwen();
            let whole = tokenizer.encode(text.as_str(), false).unwrap();
            prop_assert!(in_pieces(&text, piece).0 == whole.get_ids());
            prop_assert!(long.least_tokens(&text) <= whole.len());
            for tokens in [1, 10, 100] {
                let ends = long.two_ends(&text, tokens);
                let ids = tokenizer.encode(ends.as_ref(), false).unwrap();
                prop_assert!(ends.len() == text.len() || ids.len() > tokens);
            }
        }
    }
}
