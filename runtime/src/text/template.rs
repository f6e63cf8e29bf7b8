//! Chat templates, run as `transformers` runs them: the language is the crate `worldpm-ort-template`.

use std::sync::Arc;

use worldpm_ort_template::{Error, ErrorKind, Limits, Template, Value};

use super::{
    conversation::{Conversation, Message},
    error::TextError,
};
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
    default: Template,
    /// Where the default was found.
    origin: String,
    /// For conversations with tools.
    tool_use: Option<Template>,
    special_tokens: Vec<(String, String)>,
    now: Option<i64>,
    limits: Limits,
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
        let (mut default, mut tool_use) = (None, None);
        for source in sources {
            let template = Template::compile(&source.origin, &source.text).map_err(|error| {
                TextError::TemplateSyntax {
                    message: match error.line() {
                        0 => error.message().to_owned(),
                        line => format!("line {line}: {}", error.message()),
                    },
                    origin: source.origin.clone(),
                }
            })?;
            match source.name.as_str() {
                DEFAULT => default = Some((template, source.origin)),
                TOOL_USE => tool_use = Some(template),
                // Nothing asks for it, and it has to compile all the same.
                _ => {}
            }
        }
        let Some((default, origin)) = default else {
            return Err(TextError::TemplateSyntax {
                origin: "the tokenizer's files".to_owned(),
                message: format!("there is no template named {DEFAULT}"),
            });
        };
        Ok(Self {
            default,
            origin,
            tool_use,
            special_tokens,
            now,
            limits: Limits::default(),
        })
    }

    /// The file of the default template, and the field where it is in a field.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Renders a conversation, after an empty system message where `system_marker` asks for one.
    ///
    /// # Errors
    ///
    /// [`TextError::TemplateRaised`], [`TextError::TemplateFailed`] and [`TextError::TemplateStopped`].
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
        Err(match error.kind() {
            ErrorKind::Raised => TextError::TemplateRaised {
                message: error.message().to_owned(),
                hint,
            },
            ErrorKind::Python(_) => TextError::TemplateFailed {
                message: error.to_string(),
                hint,
            },
            _ => TextError::TemplateStopped {
                message: error.to_string(),
                hint,
            },
        })
    }

    fn run(&self, conversation: &Conversation, marked: bool) -> Result<String, Error> {
        let tool_use = conversation.tools.as_ref().and(self.tool_use.as_ref());
        let template = tool_use.unwrap_or(&self.default);
        let marker = marked.then(|| Message::new("system", ""));
        let messages = marker.iter().chain(&conversation.messages);
        let messages = messages.map(|message| message_value(message.fields()));
        let special_tokens = self
            .special_tokens
            .iter()
            .map(|(name, token)| (name.as_str(), Value::from(token.as_str())));
        let tools = match &conversation.tools {
            Some(tools) => Value::list(tools.iter().map(json_value).collect::<Result<_, _>>()?)?,
            None => Value::None,
        };
        let given = [
            (
                "messages",
                Value::list(messages.collect::<Result<_, _>>()?)?,
            ),
            ("tools", tools),
            ("documents", Value::None),
            ("add_generation_prompt", Value::from(false)),
        ];
        let context = Value::dict(special_tokens.chain(given))?;
        template.render(&context, local_time(self.now), &self.limits)
    }
}

/// The time now, in the machine's time zone, or the fixed time in UTC.
fn local_time(now: Option<i64>) -> Option<jiff::civil::DateTime> {
    match now {
        Some(seconds) => jiff::Timestamp::from_second(seconds)
            .ok()
            .map(|time| jiff::tz::TimeZone::UTC.to_datetime(time)),
        None => Some(jiff::ZonedDateTime::now().datetime()),
    }
}

/// A message as a template sees it: without its null fields, and with its reasoning under each usual name.
fn message_value(fields: &Object) -> Result<Value, Error> {
    let present = fields.iter().filter(|(_, value)| !value.is_null());
    let reasoning = REASONING_FIELDS
        .iter()
        .find_map(|name| fields.get(name).filter(|value| !value.is_null()));
    let mut pairs = Vec::with_capacity(fields.len() + 2);
    if let Some(reasoning) = reasoning {
        pairs.push(("thinking", json_value(reasoning)?));
    }
    for (name, value) in present {
        pairs.push((name.as_str(), json_value(value)?));
    }
    if let Some(reasoning) = reasoning {
        pairs.push(("reasoning_content", json_value(reasoning)?));
    }
    Value::dict(pairs)
}

/// The one place where JSON becomes what templates see.
fn json_value(json: &Json) -> Result<Value, Error> {
    match json {
        Json::Null => Ok(Value::None),
        Json::Bool(value) => Ok(Value::from(*value)),
        Json::Number(number) => Value::from_json_number(number.as_str()),
        Json::String(text) => Ok(Value::from(Arc::clone(text))),
        Json::Array(items) => Value::list(items.iter().map(json_value).collect::<Result<_, _>>()?),
        Json::Object(fields) => {
            let pairs = fields
                .iter()
                .map(|(name, value)| Ok((name, json_value(value)?)));
            Value::dict(pairs.collect::<Result<Vec<_>, Error>>()?)
        }
    }
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
            (
                "\n{{ nothing.at.all }}",
                "chat_template.jinja, line 2: UndefinedError: 'nothing' is undefined",
            ),
            (
                "{{ nothing() }}",
                "line 1: UndefinedError: 'nothing' is undefined",
            ),
            (
                "{% if 1 %}{{ messages | nothing }}{% endif %}",
                "No filter named 'nothing'",
            ),
            (
                "{{ messages[0].content.nothing() }}",
                "'str object' has no attribute 'nothing'",
            ),
            (
                "{{ messages[0].content + messages[0].nothing }}",
                "line 1: ",
            ),
            (
                "{{ nothing | tojson }}",
                "Object of type Undefined is not JSON serializable",
            ),
            ("{{ 'a' | tojson(colour=1) }}", "colour"),
            ("{{ strftime_now('%s') }}", "strftime_now"),
            (
                "{% if messages[0].content < 1 %}{% endif %}",
                "'<' not supported between instances of 'str' and 'int'",
            ),
            (
                "{% for x in none %}{% endfor %}",
                "'NoneType' object is not iterable",
            ),
            ("{{ range(100001) }}", "OverflowError: Range too big"),
            ("{{ 'a' * 10**12 }}", "limit reached"),
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
        assert_eq!(
            render("{% raw %}{% generation %}{% endraw %}{{ messages[0].content }}").unwrap(),
            "{% generation %}question"
        );
        let template = "{% set x = 1 %}{%- generation -%} {% set x = 2 %}{{ x }} {%- endgeneration -%}{{ x }}\
                        {# {% generation %} #}{{ '{% generation %}' }}{";
        assert_eq!(render(template).unwrap(), "21{% generation %}{");
    }

    #[test]
    fn a_fixed_time_makes_dates_repeatable() {
        let text = render("{{ strftime_now('%d %b %Y, %A %H:%M') }}").unwrap();
        assert_eq!(text, "14 Nov 2023, Tuesday 22:13");
        let text = render("{{ strftime_now(format='%c|%x|%r|%f|%Z|%z|%Q|%-d') }}").unwrap();
        assert_eq!(
            text,
            "Tue Nov 14 22:13:20 2023|11/14/23|10:13:20 PM|000000|||%Q|14"
        );
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
