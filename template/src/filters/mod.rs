//! Jinja's filters.

pub(crate) mod apply;
pub(crate) mod html;
mod numbers;
mod sequences;
pub(crate) mod sort;
mod text;

use crate::args::Args;
use crate::error::{Result, unsupported};
use crate::eval::Interp;
use crate::value::Value;

type Run = fn(&mut Interp<'_>, Value, Args) -> Result<Value>;

/// A filter by its function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter {
    pub(crate) run: Run,
}

const FILTERS: [(&str, Run); 54] = [
    ("abs", numbers::abs),
    ("attr", sequences::attr),
    ("batch", sequences::batch),
    ("capitalize", text::capitalize),
    ("center", text::center),
    ("count", sequences::length),
    ("d", sequences::default),
    ("default", sequences::default),
    ("dictsort", sort::dictsort),
    ("e", html::escape),
    ("escape", html::escape),
    ("filesizeformat", numbers::filesizeformat),
    ("first", sequences::first),
    ("float", numbers::float),
    ("forceescape", html::forceescape),
    ("format", text::format),
    ("groupby", sort::groupby),
    ("indent", text::indent),
    ("int", numbers::int),
    ("items", sequences::items),
    ("join", text::join),
    ("last", sequences::last),
    ("length", sequences::length),
    ("list", sequences::list),
    ("lower", text::lower),
    ("map", apply::map),
    ("max", sort::max),
    ("min", sort::min),
    ("pprint", text::pprint),
    ("random", |_, _, _| {
        Err(unsupported(
            "the filter `random`: its result is another one each time",
        ))
    }),
    ("reject", apply::reject),
    ("rejectattr", apply::rejectattr),
    ("replace", text::replace),
    ("reverse", sequences::reverse),
    ("round", numbers::round),
    ("safe", html::safe),
    ("select", apply::select),
    ("selectattr", apply::selectattr),
    ("slice", sequences::slice),
    ("sort", sort::sort),
    ("string", text::string),
    ("striptags", html::striptags_filter),
    ("sum", sequences::sum),
    ("title", text::title),
    ("tojson", text::tojson),
    ("trim", text::trim),
    ("truncate", text::truncate),
    ("unique", sequences::unique),
    ("upper", text::upper),
    ("urlencode", html::urlencode),
    ("urlize", |_, _, _| Err(unsupported("the filter `urlize`"))),
    ("wordcount", text::wordcount),
    ("wordwrap", |_, _, _| {
        Err(unsupported("the filter `wordwrap`"))
    }),
    ("xmlattr", html::xmlattr),
];

/// The filter of this name.
pub(crate) fn find(name: &str) -> Option<Filter> {
    let (_, run) = FILTERS.iter().find(|(known, _)| *known == name)?;
    Some(Filter { run: *run })
}
