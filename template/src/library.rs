//! All filters and tests.

use crate::{ast::Names, filters::FILTERS, tests::TESTS, value::Library};

pub(crate) static LIBRARY: Library = Library {
    filters: &FILTERS,
    tests: &TESTS,
};

fn place<T>(table: &[(&str, T)], name: &str) -> Option<usize> {
    table.iter().position(|(known, _)| *known == name)
}

impl Names for Library {
    fn filter_place(&self, name: &str) -> Option<usize> {
        place(self.filters, name)
    }

    fn test_place(&self, name: &str) -> Option<usize> {
        place(self.tests, name)
    }
}
