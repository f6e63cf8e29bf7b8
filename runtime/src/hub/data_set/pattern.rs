//! Patterns of file names, with the meaning that `datasets` gives them (which is `fsspec`'s).

/// A pattern over the paths of a repository: `*` within a part, `**` for any number of parts, `?`, `[a-z]`, `[!a-z]`.
#[derive(Clone, Debug)]
pub(super) struct Pattern<'a> {
    text: &'a str,
    parts: Vec<&'a str>,
}

impl<'a> Pattern<'a> {
    /// `None` where `**` is more or less than a whole part, which has no meaning.
    pub(super) fn new(text: &'a str) -> Option<Self> {
        let parts: Vec<_> = text.split('/').collect();
        let is_odd = |part: &&str| part.contains("**") && *part != "**";
        (!parts.iter().any(is_odd)).then_some(Self { text, parts })
    }

    /// Whether it can match another path than its own text.
    pub(super) fn is_literal(&self) -> bool {
        !self.text.contains(['*', '?', '['])
    }

    /// Whether a file is meant. Hidden files and folders, and folders whose names begin with `__`, are so only where the
    /// pattern has as many of them.
    pub(super) fn matches(&self, path: &str) -> bool {
        let is_match = match self.is_literal() {
            true => self.text == path,
            false => matches_parts(&self.parts, &path.split('/').collect::<Vec<_>>()),
        };
        is_match
            && hidden(self.text) == hidden(path)
            && special_folders(self.text) == special_folders(path)
    }
}

fn hidden(path: &str) -> usize {
    let is_hidden = |part: &&str| part.starts_with('.') && part.contains(|c| c != '.');
    path.split('/').filter(is_hidden).count()
}

fn special_folders(path: &str) -> usize {
    let Some((folders, _)) = path.rsplit_once('/') else {
        return 0;
    };
    let is_special = |part: &&str| part.starts_with("__");
    folders.split('/').filter(is_special).count()
}

fn matches_parts(pattern: &[&str], path: &[&str]) -> bool {
    // Whether the pattern up to here matches the first parts of the path, by how many these are.
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for (number, part) in pattern.iter().enumerate() {
        let is_last = number + 1 == pattern.len();
        let mut next = vec![false; path.len() + 1];
        for at in 0..=path.len() {
            next[at] = match *part {
                // At the end it stands for what is in a folder, and not for the folder.
                "**" if is_last => at > 0 && (reached[at - 1] || next[at - 1]),
                "**" => reached[at] || at > 0 && next[at - 1],
                part => at > 0 && reached[at - 1] && matches_part(part, path[at - 1]),
            };
        }
        reached = next;
    }
    reached[path.len()]
}

/// One thing that a part of a pattern asks for.
#[derive(Debug)]
enum Token {
    Any,
    One,
    Char(char),
    /// Characters from one to another, and whether it is these that are not meant.
    Set(Vec<(char, char)>, bool),
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(own) => *own == c,
            Self::Set(ranges, is_not) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *is_not
            }
        }
    }
}

fn matches_part(pattern: &str, name: &str) -> bool {
    // Alone it stands for a name, and none is empty.
    if pattern == "*" {
        return !name.is_empty();
    }
    let tokens = tokens(pattern);
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut taken) = (0, 0);
    // Where the last `*` is, and how much of the name it takes.
    let mut star: Option<(usize, usize)> = None;
    while taken < name.len() {
        match tokens.get(at) {
            Some(Token::Any) => {
                star = Some((at, taken));
                at += 1;
            }
            Some(token) if token.takes(name[taken]) => {
                at += 1;
                taken += 1;
            }
            _ => match &mut star {
                Some((star, from)) => {
                    *from += 1;
                    (at, taken) = (*star + 1, *from);
                }
                None => return false,
            },
        }
    }
    tokens[at..].iter().all(|token| matches!(token, Token::Any))
}

fn tokens(pattern: &str) -> Vec<Token> {
    let chars: Vec<char> = pattern.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        match chars[at] {
            '*' => tokens.push(Token::Any),
            '?' => tokens.push(Token::One),
            '[' => {
                if let Some((set, end)) = set(&chars, at + 1) {
                    tokens.push(set);
                    at = end;
                } else {
                    tokens.push(Token::Char('['));
                }
            }
            c => tokens.push(Token::Char(c)),
        }
        at += 1;
    }
    tokens
}

/// A set whose first character is at `from`, and where its `]` is.
fn set(chars: &[char], from: usize) -> Option<(Token, usize)> {
    let is_not = chars.get(from) == Some(&'!');
    let first = from + usize::from(is_not);
    // A `]` at the start is one of the characters.
    let end = first + 1 + chars.get(first + 1..)?.iter().position(|c| *c == ']')?;
    let (mut ranges, mut at) = (Vec::new(), first);
    while at < end {
        if at + 2 < end && chars[at + 1] == '-' {
            ranges.push((chars[at], chars[at + 2]));
            at += 3;
        } else {
            ranges.push((chars[at], chars[at]));
            at += 1;
        }
    }
    Some((Token::Set(ranges, is_not), end))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As `datasets` 5.2 answers.
    #[test]
    fn matches() {
        let cases = [
            ("data.csv", "data.csv", true),
            ("*.csv", "data.csv", true),
            ("*.csv", "d/data.csv", false),
            ("**", "data.csv", true),
            ("**", "d/e/data.csv", true),
            ("**", ".hidden/data.csv", false),
            ("**", "__pycache__/data.csv", false),
            ("**", "__data.csv", true),
            ("__*/*", "__pycache__/data.csv", true),
            (".*/*", ".hidden/data.csv", true),
            ("**/*.csv", "data.csv", true),
            ("d/**", "d/e/data.csv", true),
            ("d/**", "d.csv", false),
            ("**/train[-._ 0-9]*", "train.csv", true),
            ("**/train[-._ 0-9]*", "a/b/train-1.csv", true),
            ("**/train[-._ 0-9]*", "trainer.csv", false),
            ("**/*[-._ 0-9]train[-._ 0-9]*", "my-train.csv", true),
            ("**/*[-._ 0-9]train[-._ 0-9]*", "mytrain.csv", false),
            ("**/train/**", "train/x", true),
            ("**/train/**", "a/train/b/x", true),
            ("**/train/**", "train", false),
            ("data/?.csv", "data/é.csv", true),
            ("data/[!a].csv", "data/b.csv", true),
            ("data/[!a].csv", "data/a.csv", false),
            ("data/[]a].csv", "data/].csv", true),
            ("data/[a.csv", "data/[a.csv", true),
            ("d/*", "d/", false),
            ("d/", "d/x", false),
        ];
        for (pattern, path, expected) in cases {
            let found = Pattern::new(pattern).unwrap().matches(path);
            assert_eq!(found, expected, "{pattern} {path}");
        }
        for pattern in ["a**", "**.csv", "***"] {
            assert!(Pattern::new(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn a_hostile_pattern_ends() {
        let pattern = format!("{}b", "*a".repeat(2000));
        assert!(!Pattern::new(&pattern).unwrap().matches(&"a".repeat(5000)));
        let pattern = format!("{}b", "**/".repeat(2000));
        assert!(!Pattern::new(&pattern).unwrap().matches(&"a/".repeat(500)));
    }
}
