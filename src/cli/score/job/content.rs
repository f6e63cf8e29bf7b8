//! Which conversations are the same.

use sha2::{Digest, Sha256};

use crate::{
    Conversation,
    json::Json,
    records::{Entry, Group},
};

/// The hashes of what is scored of a record: of each of its conversations, or of all where they are scored as one. Equal ones
/// have equal scores. They are of the content, not of its tokens, which are made later and elsewhere.
pub(super) fn keys(entry: &Entry, conversations: &[Conversation], is_whole: bool) -> Vec<[u8; 16]> {
    match (is_whole, conversations) {
        (_, []) => Vec::new(),
        (true, all) => vec![key(entry.groups(), all)],
        (false, all) => all
            .iter()
            .map(|one| key(None, std::slice::from_ref(one)))
            .collect(),
    }
}

/// `groups` are those of the candidates that the conversations are, where they are scored as one.
fn key(groups: Option<&[Option<Group>]>, conversations: &[Conversation]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    if let Some(groups) = groups {
        begin(&mut hasher, b'g', groups.len());
        for group in groups {
            hasher.update([match group {
                None => 0,
                Some(Group::Chosen) => 1,
                Some(Group::Rejected) => 2,
            }]);
        }
    }
    for conversation in conversations {
        begin(&mut hasher, b'c', conversation.messages.len());
        for message in &conversation.messages {
            let fields = message.fields();
            begin(&mut hasher, b'o', fields.len());
            for (name, value) in fields.iter() {
                text(&mut hasher, b'k', name);
                add(&mut hasher, value);
            }
        }
        if let Some(tools) = &conversation.tools {
            begin(&mut hasher, b't', tools.len());
            tools.iter().for_each(|tool| add(&mut hasher, tool));
        }
    }
    let digest = hasher.finalize();
    std::array::from_fn(|index| digest[index])
}

/// Kind and length come first, so that no two values have the same bytes.
fn begin(hasher: &mut Sha256, kind: u8, length: usize) {
    hasher.update([kind]);
    hasher.update((length as u64).to_le_bytes());
}

fn text(hasher: &mut Sha256, kind: u8, text: &str) {
    begin(hasher, kind, text.len());
    hasher.update(text);
}

fn add(hasher: &mut Sha256, value: &Json) {
    match value {
        Json::Null => begin(hasher, b'z', 0),
        Json::Bool(value) => begin(hasher, b'b', usize::from(*value)),
        Json::Number(number) => text(hasher, b'n', number.as_str()),
        Json::String(string) => text(hasher, b's', string),
        Json::Array(items) => {
            begin(hasher, b'a', items.len());
            items.iter().for_each(|item| add(hasher, item));
        }
        Json::Object(fields) => {
            begin(hasher, b'o', fields.len());
            for (name, value) in fields.iter() {
                text(hasher, b'k', name);
                add(hasher, value);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_may_be_scored_otherwise_has_another_key() {
        let conversation = |value: serde_json::Value| Conversation::from_value(value).unwrap();
        let user = |content: &str| json!({"role": "user", "content": content});
        let one = conversation(json!([user("a"), {"role": "assistant", "content": "b"}]));
        let others = [
            json!([user("ab"), {"role": "assistant", "content": ""}]),
            json!([user("a")]),
            json!([user("a"), {"role": "assistant", "content": ["b"]}]),
            json!([user("a"), {"content": "b", "role": "assistant"}]),
            json!([user("a"), {"role": "assistant", "content": "b", "x": 1}]),
            json!([user("a"), {"role": "assistant", "content": "b", "x": 1.0}]),
            json!({"messages": [user("a"), {"role": "assistant", "content": "b"}], "tools": []}),
        ];
        let mut keys: Vec<_> = others.map(|other| key(None, &[conversation(other)])).into();
        assert!(!keys.contains(&key(None, std::slice::from_ref(&one))));
        keys.extend([
            key(None, std::slice::from_ref(&one)),
            key(None, &[one.clone(), one.clone()]),
            key(Some(&[None, None]), &[one.clone(), one.clone()]),
            key(
                Some(&[Some(Group::Chosen), Some(Group::Rejected)]),
                &[one.clone(), one.clone()],
            ),
        ]);
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
        assert_eq!(
            key(None, std::slice::from_ref(&one)),
            key(None, std::slice::from_ref(&one.clone()))
        );
    }
}
