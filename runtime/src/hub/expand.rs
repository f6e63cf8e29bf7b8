//! Paths in environment variables, as Python's `os.path.expanduser` and `os.path.expandvars` read them: so that
//! `HF_HOME=~/models` and `HF_HOME=$SCRATCH/hf` mean the same here.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

/// Replaces a `~` or `~user` in front, then variables. What is not known stays as it is.
pub(super) fn expand(path: &OsStr, var: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    let path = expand_user(path.as_bytes(), var);
    PathBuf::from(OsString::from_vec(expand_variables(&path, var)))
}

fn expand_user(path: &[u8], var: &dyn Fn(&str) -> Option<OsString>) -> Vec<u8> {
    if path.first() != Some(&b'~') {
        return path.to_owned();
    }
    let end = path.iter().position(|byte| *byte == b'/');
    let (name, rest) = path.split_at(end.unwrap_or(path.len()));
    let home = match name.get(1..) {
        Some(user) if !user.is_empty() => home_of(user),
        _ => var("HOME").map(OsString::into_vec),
    };
    let Some(mut home) = home else {
        return path.to_owned();
    };
    while home.last() == Some(&b'/') {
        home.pop();
    }
    home.extend(rest);
    match home.is_empty() {
        true => b"/".to_vec(),
        false => home,
    }
}

/// A user's home directory, by the system's list of users.
fn home_of(user: &[u8]) -> Option<Vec<u8>> {
    let users = fs::read("/etc/passwd").ok()?;
    let mut entries = users.split(|byte| *byte == b'\n');
    entries.find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        (fields.next()? == user).then(|| fields.nth(4).map(<[u8]>::to_owned))?
    })
}

/// `$NAME` and `${NAME}`.
fn expand_variables(path: &[u8], var: &dyn Fn(&str) -> Option<OsString>) -> Vec<u8> {
    let mut expanded = Vec::new();
    let mut rest = path;
    while let [first, after @ ..] = rest {
        let named = match first {
            b'$' => variable(after),
            _ => None,
        };
        let value = named.and_then(|(name, after)| Some((lookup(name, var)?, after)));
        if let Some((value, after)) = value {
            expanded.extend(value);
            rest = after;
        } else {
            expanded.push(*first);
            rest = after;
        }
    }
    expanded
}

/// The name that stands behind a `$`, and what comes after it.
fn variable(after: &[u8]) -> Option<(&[u8], &[u8])> {
    if let [b'{', inner @ ..] = after {
        let end = inner.iter().position(|byte| *byte == b'}')?;
        return Some((inner.get(..end)?, inner.get(end + 1..)?));
    }
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = after.iter().position(|byte| !is_part(byte));
    let (name, rest) = after.split_at(end.unwrap_or(after.len()));
    (!name.is_empty()).then_some((name, rest))
}

fn lookup(name: &[u8], var: &dyn Fn(&str) -> Option<OsString>) -> Option<Vec<u8>> {
    // The environment has no such names, and asking for them is an error.
    let name = std::str::from_utf8(name).ok()?;
    let possible = !name.is_empty() && !name.contains(['=', '\0']);
    possible.then(|| var(name))?.map(OsString::into_vec)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What Python 3.12 makes of each, with HOME=/u, A=one, B=/two and EMPTY set to nothing.
    #[test]
    fn as_python_expands() {
        let cases = [
            ("~", "/u"),
            ("~/x", "/u/x"),
            ("x/~", "x/~"),
            ("~nobody-of-this-name/x", "~nobody-of-this-name/x"),
            ("~root/x", "/root/x"),
            ("$A", "one"),
            ("${A}", "one"),
            ("/d/$A/$B", "/d/one//two"),
            ("/d/${A}b", "/d/oneb"),
            ("/d/$Ab", "/d/$Ab"),
            ("/d/$A.b", "/d/one.b"),
            ("/d/${A", "/d/${A"),
            ("/d/${}", "/d/${}"),
            ("/d/$", "/d/$"),
            ("/d/$$A", "/d/$one"),
            ("/d/$UNKNOWN/${UNKNOWN}", "/d/$UNKNOWN/${UNKNOWN}"),
            ("/d/${EMPTY}x", "/d/x"),
            ("$HOME/x", "/u/x"),
            ("~/$A", "/u/one"),
            ("$TILDE/x", "~/x"),
            ("${A=B}", "${A=B}"),
            ("/ä/$A", "/ä/one"),
            ("/d/$Aä", "/d/oneä"),
        ];
        let var = |name: &str| {
            let value = match name {
                "HOME" => "/u",
                "A" => "one",
                "B" => "/two",
                "EMPTY" => "",
                "TILDE" => "~",
                _ => return None,
            };
            Some(OsString::from(value))
        };
        for (path, expected) in cases {
            if path.starts_with("~root") && home_of(b"root").as_deref() != Some(b"/root") {
                continue;
            }
            assert_eq!(
                expand(OsStr::new(path), &var),
                Path::new(expected),
                "{path}"
            );
        }
        let none = |_: &str| None;
        assert_eq!(expand(OsStr::new("~/x"), &none), Path::new("~/x"));
        let bytes = OsStr::from_bytes(b"/\xff/$A");
        assert_eq!(expand(bytes, &var).as_os_str().as_bytes(), b"/\xff/one");
    }
}
