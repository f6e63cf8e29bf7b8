//! Numbers and quoted texts as a template writes them: how long they are, and what the escapes stand for.

/// The length of `digits` with single underscores between them.
fn digits_length(bytes: &[u8], digit: fn(&u8) -> bool) -> usize {
    let mut length = 0;
    loop {
        let underscore = length > 0 && bytes.get(length) == Some(&b'_');
        let at = length + usize::from(underscore);
        if bytes.get(at).is_some_and(digit) {
            length = at + 1;
        } else {
            return length;
        }
    }
}

pub(super) fn float_length(bytes: &[u8]) -> Option<usize> {
    let tail = |at: usize| bytes.get(at..).unwrap_or(&[]);
    let whole = digits_length(bytes, u8::is_ascii_digit);
    let mut length = whole;
    if tail(length).first() == Some(&b'.') {
        let fraction = digits_length(tail(length + 1), u8::is_ascii_digit);
        if fraction > 0 {
            length += 1 + fraction;
        }
    }
    if matches!(tail(length).first(), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(tail(length + 1).first(), Some(b'+' | b'-')));
        let exponent = digits_length(tail(length + 1 + sign), u8::is_ascii_digit);
        if exponent > 0 {
            return Some(length + 1 + sign + exponent);
        }
    }
    (length > whole).then_some(length)
}

/// Radix, where the digits start, and where they end.
pub(super) fn integer_length(bytes: &[u8]) -> (u32, usize, usize) {
    type Digit = fn(&u8) -> bool;
    let radix: Option<(u32, Digit)> = match bytes {
        [b'0', b'b' | b'B', ..] => Some((2, |byte| matches!(byte, b'0' | b'1'))),
        [b'0', b'o' | b'O', ..] => Some((8, |byte| matches!(byte, b'0'..=b'7'))),
        [b'0', b'x' | b'X', ..] => Some((16, u8::is_ascii_hexdigit)),
        _ => None,
    };
    if let Some((radix, digit)) = radix {
        let underscore = usize::from(bytes.get(2) == Some(&b'_'));
        let length = digits_length(bytes.get(2 + underscore..).unwrap_or(&[]), digit);
        if length > 0 {
            return (radix, 2 + underscore, 2 + underscore + length);
        }
    }
    if bytes.first() == Some(&b'0') {
        return (10, 0, digits_length(bytes, |byte| *byte == b'0'));
    }
    (10, 0, digits_length(bytes, u8::is_ascii_digit))
}

/// The length of a quoted text with its quotes.
pub(super) fn string_length(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Python's escapes, as its codec `unicode-escape` reads them.
pub(super) fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(rest.get(..at).unwrap_or(""));
        rest = rest.get(at + 1..).unwrap_or("");
        let Some(c) = rest.chars().next() else {
            return Err("\\ at end of string".to_owned());
        };
        let mut width = c.len_utf8();
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(c),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            '0'..='7' => {
                width = rest
                    .bytes()
                    .take(3)
                    .take_while(|byte| matches!(byte, b'0'..=b'7'))
                    .count();
                let code = u32::from_str_radix(rest.get(..width).unwrap_or("0"), 8).unwrap_or(0);
                out.push(char::from_u32(code).unwrap_or('\0'));
            }
            'x' | 'u' | 'U' => {
                let digits = match c {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let name = match c {
                    'x' => "\\xXX",
                    'u' => "\\uXXXX",
                    _ => "\\UXXXXXXXX",
                };
                let code = rest
                    .get(1..=digits)
                    .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
                    .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                    .ok_or_else(|| format!("truncated {name} escape"))?;
                out.push(char::from_u32(code).ok_or_else(|| match code {
                    0xd800..=0xdfff => {
                        format!(
                            "half a surrogate pair, \\u{code:04x}, in a string is not supported"
                        )
                    }
                    _ => "illegal Unicode character".to_owned(),
                })?);
                width = 1 + digits;
            }
            'N' => return Err("the escape \\N{…} is not supported; write the character".to_owned()),
            // The codec sees other characters as escapes already, and keeps the backslash.
            c if !c.is_ascii() => {
                out.push('\\');
                out.push_str(&match u32::from(c) {
                    code @ 0..=0xff => format!("x{code:02x}"),
                    code @ 0x100..=0xffff => format!("u{code:04x}"),
                    code => format!("U{code:08x}"),
                });
            }
            c => {
                out.push('\\');
                out.push(c);
            }
        }
        rest = rest.get(width..).unwrap_or("");
    }
    out.push_str(rest);
    Ok(out)
}
