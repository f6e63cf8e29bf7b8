//! Chat templates, run as `transformers` runs them.
//!
//! The engine is minijinja with the settings of `transformers`' Jinja environment; `pystr` and `json` put in what
//! Python does otherwise. Not there, and an error in a template that uses it: the `%` operator on text, the filters
//! `wordcount`, `wordwrap`, `filesizeformat`, `forceescape`, `pprint`, `random`, `striptags`, `urlize`, `xmlattr`, and
//! the functions `cycler` and `lipsum`.

use std::error::Error as _;
use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State};

use super::conversation::{Conversation, Message};
use super::error::TextError;
use super::json::{JsonStyle, dumps, python_str};
use super::pystr;
use crate::json::{Json, Object};

/// The template used unless another applies.
const DEFAULT: &str = "default";
/// The template used for a conversation with tools, where the checkpoint has one of this name.
const TOOL_USE: &str = "tool_use";
/// The names under which `transformers` looks for a message's reasoning; templates read the first.
const REASONING_FIELDS: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A template's text, and where it was found.
#[derive(Debug, Clone)]
pub(super) struct TemplateSource {
    /// `default`, `tool_use`, ….
    pub(super) name: String,
    /// The file, and the field where the template is in a field; for errors.
    pub(super) origin: String,
    /// The Jinja text.
    pub(super) text: String,
}

/// A checkpoint's chat templates, compiled once.
pub(super) struct ChatTemplates {
    environment: Environment<'static>,
    special_tokens: Vec<(String, String)>,
}

impl ChatTemplates {
    /// Compiles the templates. There must be one named `default`.
    ///
    /// # Errors
    ///
    /// [`TextError::TemplateSyntax`] names the file and the line.
    pub(super) fn compile(
        sources: Vec<TemplateSource>,
        special_tokens: Vec<(String, String)>,
        now: Option<i64>,
    ) -> Result<Self, TextError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(|error| TextError::TemplateSyntax {
            origin: "the engine's settings".to_owned(),
            message: error.to_string(),
        })?);
        environment.set_debug(false);
        environment.set_unknown_method_callback(pystr::call_method);
        environment.set_formatter(write_value);
        environment.add_filter("tojson", tojson);
        environment.add_filter("string", |value: &Value| python_str(value));
        environment.add_filter("trim", pystr::trim);
        environment.add_filter("escape", escape);
        environment.add_filter("e", escape);
        environment.add_function("joiner", minijinja_contrib::globals::joiner);
        environment.add_test("sequence", is_sequence);
        environment.add_test("iterable", is_iterable);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", move |format: &str| {
            strftime_now(format, now)
        });
        for source in sources {
            let text = generation_as_with(&source.text.replace("\r\n", "\n").replace('\r', "\n"));
            environment
                .add_template_owned(source.name, text)
                .map_err(|error| TextError::TemplateSyntax {
                    origin: source.origin,
                    message: describe(&error),
                })?;
        }
        Ok(Self {
            environment,
            special_tokens,
        })
    }

    /// Renders a conversation, after an empty system message where `system_marker` asks for one.
    ///
    /// # Errors
    ///
    /// [`TextError::TemplateRaised`] and [`TextError::TemplateFailed`].
    pub(super) fn render(
        &self,
        conversation: &Conversation,
        system_marker: bool,
    ) -> Result<String, TextError> {
        let marked =
            system_marker && conversation.messages.first().map(Message::role) != Some("system");
        let error = match self.run(conversation, marked) {
            Ok(text) => return Ok(text),
            Err(error) => error,
        };
        let hint = if marked && self.run(conversation, false).is_ok() {
            "; it refuses the empty system message that was put in front, so turn the system marker off for this model"
        } else {
            ""
        };
        Err(match raised(&error) {
            Some(message) => TextError::TemplateRaised { message, hint },
            None => TextError::TemplateFailed {
                message: describe(&error),
                hint,
            },
        })
    }

    fn run(&self, conversation: &Conversation, marked: bool) -> Result<String, Error> {
        let with_tools = conversation.tools.is_some();
        let template = match self.environment.get_template(TOOL_USE) {
            Ok(template) if with_tools => template,
            _ => self.environment.get_template(DEFAULT)?,
        };
        let marker = marked.then(|| Message::new("system", ""));
        let messages: Vec<Value> = marker
            .iter()
            .chain(&conversation.messages)
            .map(|message| message_value(message.fields()))
            .collect();
        let special_tokens = self
            .special_tokens
            .iter()
            .map(|(name, token)| (name.as_str(), Value::from(token.as_str())));
        let tools = match &conversation.tools {
            Some(tools) => tools.iter().map(json_value).collect(),
            None => Value::from(()),
        };
        let given = [
            ("messages", Value::from(messages)),
            ("tools", tools),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(false)),
        ];
        template.render(Value::from_pairs(special_tokens.chain(given)))
    }
}

/// A message as a template sees it: without its null fields, and with its reasoning under each usual name.
fn message_value(fields: &Object) -> Value {
    let reasoning = REASONING_FIELDS
        .iter()
        .find_map(|name| fields.get(name).filter(|value| !value.is_null()));
    let Some(reasoning) = reasoning else {
        let present = fields.iter().filter(|(_, value)| !value.is_null());
        return Value::from_pairs(present.map(|(name, value)| (name.as_str(), json_value(value))));
    };
    let mut aliased = Object::new();
    aliased.insert("thinking", reasoning.clone());
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        aliased.insert(name.clone(), value.clone());
    }
    aliased.insert("reasoning_content", reasoning.clone());
    json_value(&Json::Object(aliased))
}

fn json_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match number.as_i128() {
            Some(integer) => match i64::try_from(integer) {
                Ok(small) => Value::from(small),
                Err(_) => Value::from(integer),
            },
            None => Value::from(number.as_f64()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(json_value).collect(),
        Json::Object(fields) => Value::from_pairs(
            fields
                .iter()
                .map(|(name, value)| (name.as_str(), json_value(value))),
        ),
    }
}

/// What a template passed to `raise_exception`.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn raise_exception(message: &Value) -> Result<Value, Error> {
    let message = python_str(message);
    let error = Error::new(ErrorKind::InvalidOperation, message.clone());
    Err(error.with_source(Raised(message)))
}

fn raised(error: &Error) -> Option<String> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(Raised(message)) = inner.downcast_ref() {
            return Some(message.clone());
        }
        source = inner.source();
    }
    None
}

/// The engine's message with the line, without the engine's name for the template.
fn describe(error: &Error) -> String {
    let kind = error.kind();
    let text = match error.detail() {
        Some(detail) => format!("{kind}: {detail}"),
        None => kind.to_string(),
    };
    match error.line() {
        Some(line) => format!("line {line}: {text}"),
        None => text,
    }
}

fn write_value(out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.write_str(text)?,
        None => out.write_str(&python_str(value))?,
    }
    Ok(())
}

/// `tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
fn tojson(value: &Value, positional: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let argument = |position: usize, name: &str| -> Result<Option<Value>, Error> {
        let value = match positional.get(position) {
            Some(value) => Some(value.clone()),
            None => named.get::<Option<Value>>(name)?,
        };
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let bad = |name: &str| {
        let detail = format!("tojson does not take this `{name}`");
        Error::new(ErrorKind::InvalidOperation, detail)
    };
    let indent = match argument(1, "indent")? {
        None => None,
        Some(value) => match value.as_str() {
            Some(text) => Some(text.to_owned()),
            None => {
                let width = i64::try_from(value).map_err(|_| bad("indent"))?;
                Some(" ".repeat(usize::try_from(width.clamp(0, 64)).unwrap_or(0)))
            }
        },
    };
    let separators = match argument(2, "separators")? {
        None => None,
        Some(value) => {
            let parts: Vec<String> = value.try_iter()?.map(|part| python_str(&part)).collect();
            let [item, key] = <[String; 2]>::try_from(parts).map_err(|_| bad("separators"))?;
            Some((item, key))
        }
    };
    let style = JsonStyle {
        ensure_ascii: argument(0, "ensure_ascii")?.is_some_and(|value| value.is_true()),
        indent,
        separators,
        sort_keys: argument(3, "sort_keys")?.is_some_and(|value| value.is_true()),
    };
    named.assert_all_used()?;
    dumps(value, &style)
}

/// The `escape` filter, with the same character references as Python's.
fn escape(value: &Value) -> Value {
    let mut out = String::new();
    for c in python_str(value).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            _ => out.push(c),
        }
    }
    Value::from_safe_string(out)
}

/// Jinja's test: whatever has a length and items, so text and objects too.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined
    )
}

fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// The time now, in the machine's time zone, or the fixed time in UTC.
fn strftime_now(format: &str, now: Option<i64>) -> Result<String, Error> {
    let bad = |error: jiff::Error| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("strftime_now({format:?}): {error}"),
        )
    };
    let now = match now {
        Some(seconds) => jiff::Timestamp::from_second(seconds)
            .map_err(bad)?
            .to_zoned_datetime(jiff::tz::TimeZone::UTC),
        None => jiff::ZonedDateTime::now(),
    };
    jiff::fmt::strtime::format(format, &now).map_err(bad)
}

/// Rewrites `{% generation %}…{% endgeneration %}`, a tag of `transformers` that marks what the assistant wrote and
/// prints its body, as `{% with %}…{% endwith %}`, which has the same scope.
fn generation_as_with(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let length = tag_length(tag);
        let (tag, tail) = tag.split_at(length);
        let name = tag
            .strip_prefix("{%")
            .and_then(|tag| tag.strip_suffix("%}"))
            .map(|tag| tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+'));
        match name {
            Some(name @ ("generation" | "endgeneration")) => {
                let replacement = name.replace("generation", "with");
                out.push_str(&tag.replace(name, &replacement));
            }
            _ => out.push_str(tag),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// The length of the tag, expression or comment that `text` starts with; of its first byte when it is none.
fn tag_length(text: &str) -> usize {
    let end = match text.as_bytes().get(1) {
        Some(b'#') => return text.find("#}").map_or(text.len(), |at| at + 2),
        Some(b'%') => "%}",
        Some(b'{') => "}}",
        _ => return 1,
    };
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if text.get(at..).is_some_and(|rest| rest.starts_with(end)) => {
                return at + end.len();
            }
            None => {}
        }
    }
    text.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn compile(text: &str) -> Result<ChatTemplates, TextError> {
        let source = TemplateSource {
            name: "default".to_owned(),
            origin: "chat_template.jinja".to_owned(),
            text: text.to_owned(),
        };
        ChatTemplates::compile(vec![source], vec![], Some(1_700_000_000))
    }

    fn render(text: &str) -> Result<String, TextError> {
        compile(text)?.render(&Conversation::exchange("question", "answer"), false)
    }

    #[test]
    fn syntax_errors_name_the_file_and_the_line() {
        let error = compile("a\n{% for x in messages %}\n{% endif %}")
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(
            text.starts_with("the chat template in chat_template.jinja does not compile: line 3:"),
            "{text}"
        );
    }

    #[test]
    fn failures_while_running_say_why_and_where() {
        for (template, expected) in [
            ("\n{{ nothing.at.all }}", "line 2: undefined value"),
            ("{{ nothing() }}", "line 1: unknown function"),
            ("{{ messages | nothing }}", "nothing"),
            (
                "{{ messages[0].content.nothing() }}",
                "string has no method named nothing",
            ),
            (
                "{{ messages[0].content + messages[0].nothing }}",
                "line 1: ",
            ),
            ("{{ nothing | tojson }}", "cannot be written as JSON"),
            ("{{ 'a' | tojson(colour=1) }}", "colour"),
            ("{{ strftime_now('%Q %') }}", "strftime_now"),
            ("{{ 1 // 0 }}", "line 1: "),
        ] {
            let text = render(template).unwrap_err().to_string();
            assert!(text.contains(expected), "{template}: {text}");
        }
    }

    #[test]
    fn a_raised_message_comes_through_and_the_marker_is_named_as_the_cause() {
        let templates = compile(
            "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system ' ~ 1) }}{% endif %}\
             {{ m.content }}{% endfor %}",
        )
        .unwrap();
        let exchange = Conversation::exchange("question", "answer");
        assert_eq!(
            templates.render(&exchange, false).unwrap(),
            "questionanswer"
        );
        let error = templates.render(&exchange, true).unwrap_err();
        let TextError::TemplateRaised { message, hint } = &error else {
            unreachable!("{error}");
        };
        assert_eq!(message, "no system 1");
        assert!(hint.contains("turn the system marker off"), "{hint}");
    }

    #[test]
    fn the_marker_goes_in_front_unless_a_system_message_is_there() {
        let templates =
            compile("{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}").unwrap();
        let mut conversation = Conversation::exchange("q", "a");
        let with = templates.render(&conversation, true).unwrap();
        assert_eq!(with, "[system:][user:q][assistant:a]");
        conversation.messages.insert(0, Message::new("system", "s"));
        let given = templates.render(&conversation, true).unwrap();
        assert_eq!(given, "[system:s][user:q][assistant:a]");
    }

    #[test]
    fn generation_tags_print_their_body_and_keep_its_scope() {
        let template = "{% set x = 1 %}{%- generation -%} {% set x = 2 %}{{ x }} {%- endgeneration -%}{{ x }}\
                        {# {% generation %} #}{{ '{% generation %}' }}{";
        assert_eq!(render(template).unwrap(), "21{% generation %}{");
    }

    #[test]
    fn a_fixed_time_makes_dates_repeatable() {
        let text = render("{{ strftime_now('%d %b %Y, %A %H:%M') }}").unwrap();
        assert_eq!(text, "14 Nov 2023, Tuesday 22:13");
    }

    #[test]
    fn the_tool_template_is_used_only_for_tools() {
        let sources = [("default", "plain"), ("tool_use", "tools")].map(|(name, text)| {
            let (name, text) = (name.to_owned(), text.to_owned());
            let origin = "tokenizer_config.json".to_owned();
            TemplateSource { name, origin, text }
        });
        let templates = ChatTemplates::compile(sources.to_vec(), vec![], None).unwrap();
        let mut conversation = Conversation::exchange("q", "a");
        assert_eq!(templates.render(&conversation, true).unwrap(), "plain");
        conversation.tools = Some(vec![]);
        assert_eq!(templates.render(&conversation, true).unwrap(), "tools");
    }
}
