//! The filters by name.

use super::{apply, html, numbers, sequences, sort, text};
use crate::error::unsupported;
use crate::value::Filter;

pub(crate) const FILTERS: [(&str, Filter); 54] = [
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
