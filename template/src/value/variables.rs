//! The variables of one run of a function: the template itself, a macro, a recursive loop.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use crate::ast::Var;

/// Slots with values, and the variables of the function around this one.
pub(crate) struct Variables<V> {
    slots: RefCell<Vec<Option<V>>>,
    around: Option<Rc<Variables<V>>>,
    /// Whether it is let go of at the end of the render.
    held: Cell<bool>,
}

impl<V: Clone> Variables<V> {
    pub(crate) fn new(slots: u32, around: Option<Rc<Self>>) -> Rc<Self> {
        Rc::new(Self {
            slots: RefCell::new(vec![None; slots as usize]),
            around,
            held: Cell::new(false),
        })
    }

    fn at(&self, hops: u32) -> &Self {
        let mut at = self;
        for _ in 0..hops {
            match &at.around {
                Some(around) => at = around,
                None => break,
            }
        }
        at
    }

    pub(crate) fn get(&self, var: Var) -> Option<V> {
        let slots = self.at(var.hops).slots.borrow();
        slots.get(var.slot as usize).cloned().flatten()
    }

    pub(crate) fn set(&self, var: Var, value: Option<V>) {
        let before = match self
            .at(var.hops)
            .slots
            .borrow_mut()
            .get_mut(var.slot as usize)
        {
            Some(slot) => std::mem::replace(slot, value),
            None => None,
        };
        drop(before);
    }

    pub(crate) fn set_slot(&self, slot: u32, value: Option<V>) {
        self.set(Var { hops: 0, slot }, value);
    }

    /// Lets go of all values.
    pub(crate) fn clear(&self) {
        drop(self.slots.take());
    }

    /// Notes that these are let go of at the end of the render; says whether that was known.
    pub(super) fn hold(&self) -> bool {
        self.held.replace(true)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.slots.borrow().len() * size_of::<Option<V>>()
    }
}
