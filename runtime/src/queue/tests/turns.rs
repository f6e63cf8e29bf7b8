//! Whose turn it is, in a line without threads: any order of events, and shares of the engine.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::support::{Bench, of, sequence};
use crate::queue::{Priority, QueueOptions};

#[derive(Clone, Debug)]
enum Event {
    /// A caller, its priority, how many tokens, and within which time.
    Admit(u8, Priority, usize, Option<u16>),
    Withdraw(u8),
    Finish(u8),
    Work,
    /// Milliseconds pass.
    Pass(u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let priority = prop_oneof![
        Just(Priority::Low),
        Just(Priority::Normal),
        Just(Priority::High)
    ];
    let event = prop_oneof![
        4 => (0..5_u8, priority, 1..40_usize, proptest::option::of(0..300_u16))
            .prop_map(|(caller, priority, tokens, within)| Event::Admit(caller, priority, tokens, within)),
        1 => any::<u8>().prop_map(Event::Withdraw),
        2 => any::<u8>().prop_map(Event::Finish),
        3 => Just(Event::Work),
        1 => any::<u8>().prop_map(Event::Pass),
    ];
    proptest::collection::vec(event, 1..200)
}

proptest! {
    #[test]
    fn each_is_answered_once(events in events(), packs in 1..4_usize, delay in 0..3_u64) {
        let delay = Duration::from_millis(delay * 50);
        let options = QueueOptions::default().with_max_tokens(400).with_max_conversations(20).with_max_delay(delay);
        let mut bench = Bench::new(options, 64, packs);
        let mut now = Instant::now();
        let mut admitted = 0_u64;
        for event in events {
            match event {
                Event::Admit(caller, priority, tokens, within) => {
                    if !bench.line.has_room(tokens) {
                        continue;
                    }
                    let mut request = of(u64::from(caller)).with_priority(priority);
                    if let Some(within) = within {
                        request = request.with_deadline(now + Duration::from_millis(within.into()));
                    }
                    let ids = vec![u32::from(caller); tokens];
                    let id = bench.line.admit(sequence(&ids), &request, admitted, now);
                    prop_assert_eq!(id, admitted);
                    admitted += 1;
                    prop_assert!(bench.line.len() <= 20 && bench.line.tokens() <= 400);
                }
                Event::Withdraw(which) if admitted > 0 => {
                    let gone = bench.line.withdraw(u64::from(which) % admitted);
                    bench.answered(gone.map(|gone| gone.kept));
                }
                Event::Finish(which) if !bench.running.is_empty() => drop(bench.finish(which.into(), now)),
                Event::Work => drop(bench.work(now)),
                Event::Pass(time) => now += Duration::from_millis(time.into()),
                Event::Withdraw(_) | Event::Finish(_) => {}
            }
        }
        // Nothing more comes: all of it is answered in the end.
        let mut rounds = 0;
        while !bench.line.is_idle() {
            let wait = bench.work(now);
            match bench.running.is_empty() {
                false => drop(bench.finish(0, now)),
                true => now += wait.unwrap_or_default(),
            }
            rounds += 1;
            prop_assert!(rounds < 2000, "it does not end");
        }
        prop_assert_eq!(bench.line.tokens(), 0);
        prop_assert_eq!(bench.answered.len() as u64, admitted);
        prop_assert!(bench.answered.values().all(|&times| times == 1));
    }

    /// Whoever comes waits for what the engine has in hand and for a pack of each of the others, however much they have.
    #[test]
    fn nobody_starves(
        bulk in 1..4_u8,
        high in any::<bool>(),
        low in any::<bool>(),
        before in 0..30_usize,
        capacity in 1..3_usize,
    ) {
        let mut bench = Bench::new(QueueOptions::default(), 64, capacity);
        let now = Instant::now();
        let priority = match high {
            true => Priority::High,
            false => Priority::Normal,
        };
        for caller in 0..bulk {
            for at in 0..400_u32 {
                let ids = [vec![u32::from(caller)], vec![at; 15]].concat();
                let request = of(caller.into()).with_priority(priority);
                bench.line.admit(sequence(&ids), &request, 0, now);
            }
        }
        for _ in 0..before {
            bench.work(now);
            bench.finish(0, now);
        }
        let priority = match low {
            true => Priority::Low,
            false => Priority::Normal,
        };
        bench.line.admit(sequence(&[99; 16]), &of(99).with_priority(priority), 1, now);
        bench.gone.clear();
        let mut packs = 0;
        while !bench.gone.contains(&99) {
            bench.work(now);
            bench.finish(0, now);
            packs += 1;
            prop_assert!(packs <= capacity + 2 * usize::from(bulk), "{packs} packs before it");
        }
    }

    /// While several have more than enough, each gets its share.
    #[test]
    fn shares(priorities in proptest::collection::vec(0..3_u8, 2..4)) {
        let mut bench = Bench::new(QueueOptions::default(), 64, 1);
        let now = Instant::now();
        let of_index = |index: u8| [Priority::Low, Priority::Normal, Priority::High][usize::from(index)];
        for (caller, &priority) in (0_u32..).zip(&priorities) {
            for at in 0..2000_u32 {
                let ids = [vec![caller], vec![at; 7]].concat();
                let request = of(caller.into()).with_priority(of_index(priority));
                bench.line.admit(sequence(&ids), &request, 0, now);
            }
        }
        while bench.gone.len() < 1500 {
            bench.work(now);
            bench.finish(0, now);
        }
        let weight = |&priority: &u8| [1.0, 4.0, 16.0][usize::from(priority)];
        let all: f64 = priorities.iter().map(weight).sum();
        for (caller, priority) in (0_u64..).zip(&priorities) {
            let got = bench.gone.iter().filter(|&&who| who == caller).count() as f64;
            let due = bench.gone.len() as f64 * weight(priority) / all;
            prop_assert!((got - due).abs() < 60.0, "{caller} got {got} of {due}, {priorities:?}");
        }
    }
}
