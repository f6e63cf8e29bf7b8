//! Text with values put into it: `%`, `str.format` and `strftime`.

mod digits;
mod fields;
mod percent;
mod spec;
mod time;

pub(crate) use digits::fixed;
pub(crate) use fields::format_method;
pub(crate) use percent::format as percent;
pub(crate) use time::strftime;
