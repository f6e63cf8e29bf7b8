mod admission;
mod faults;
mod packs;
mod sharing;
mod support;
mod tickets;
mod turns;
