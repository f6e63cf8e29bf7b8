//! A pipeline run in simulated time, event by event: how long it fills, where it waits, and what it reaches.
//!
//! The rules are those of the runtime's pipeline. Every stage has a thread: it takes a pack from the queue before it,
//! fetches the hidden states if they are on another device, computes, and puts the pack into the queue behind it. A queue
//! holds a fixed number of packs, and a stage whose next queue is full waits with its pack. Stages on one device take
//! turns. The first stage never waits for packs.

use std::collections::VecDeque;

use crate::error::{Error, Result};
use serde::Serialize;

/// Most packs that are simulated.
const MOST_PACKS: usize = 100_000;

/// A stage of a simulated pipeline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimulatedStage {
    /// Seconds of work for a pack.
    pub work: f64,
    /// Seconds to fetch a pack's hidden states from the stage before, which both devices are joined for; only the
    /// fetching stage waits. 0 for the first stage and on the same device.
    pub copy: f64,
    /// Its device. Stages with the same number take turns.
    pub device: usize,
}

/// What stages did, in seconds of simulated time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StageUse {
    /// Work.
    pub busy: f64,
    /// Fetching hidden states.
    pub copying: f64,
    /// Waiting with a finished pack, since the queue behind it was full.
    pub blocked: f64,
    /// Waiting for its turn on a device that it shares.
    pub turn: f64,
    /// Waiting for packs: while the pipeline fills and drains, and behind slower stages.
    pub starved: f64,
}

/// What came out of a simulation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Seconds until the first pack was through: the pipeline's fill.
    pub fill: f64,
    /// Seconds until the last pack was through.
    pub total: f64,
    /// Seconds for a pack of the usual size once the pipeline is full: how fast the busiest device gets through packs
    /// from when half of them have been taken, and one is through, until the first stage takes the last. Over everything
    /// where there are too few packs for that.
    pub steady: f64,
    /// Seconds that the busiest device has to work and fetch for a pack of the usual size. `steady` is never less.
    pub busiest: f64,
    /// What each stage did in the time until the last pack was through.
    pub stages: Vec<StageUse>,
    /// Share of the time in which each device neither worked nor fetched: its bubbles. In order of the devices' numbers.
    pub idle: Vec<(usize, f64)>,
}

/// Runs packs through stages. `packs` has the size of each, 1 for a pack of the usual size: work and copies are in
/// proportion. `queue` is the number of packs that may wait between two stages; the runtime has 1.
///
/// # Errors
/// [`Error::Option`] without stages, without packs or with too many of them, and for times that are no times.
pub fn simulate(stages: &[SimulatedStage], packs: &[f64], queue: usize) -> Result<Outcome> {
    check(stages, packs)?;
    let mut run = Run::new(stages, packs, queue);
    run.settle();
    while let Some(next) = run.next_event() {
        run.advance(next);
        run.settle();
        run.note();
    }
    Ok(run.outcome())
}

fn fail<T>(option: &str, problem: String) -> Result<T> {
    let option = option.to_owned();
    Err(Error::Option { option, problem })
}

/// Whether this number of packs can be simulated.
pub(super) fn check_count(packs: usize) -> Result<()> {
    match packs {
        1..=MOST_PACKS => Ok(()),
        _ => fail("packs", format!("are {packs}; give 1 to {MOST_PACKS}")),
    }
}

fn check(stages: &[SimulatedStage], packs: &[f64]) -> Result<()> {
    if stages.is_empty() {
        return fail("stages", "are none; give one or more".to_owned());
    }
    for (index, stage) in stages.iter().enumerate() {
        let good = |seconds: f64| seconds.is_finite() && seconds >= 0.0;
        if !(good(stage.work) && good(stage.copy) && stage.work > 0.0) {
            let problem = format!(
                "stage {index} takes {} s and {} s for copies; both must be numbers, and its work above 0",
                stage.work, stage.copy
            );
            return fail("stages", problem);
        }
    }
    check_count(packs.len())?;
    if packs.iter().any(|size| !size.is_finite() || *size <= 0.0) {
        return fail("packs", "must have sizes above 0".to_owned());
    }
    Ok(())
}

/// What the thread of a stage does, since when, and with which pack.
#[derive(Clone, Copy, Debug)]
enum State {
    Starved,
    /// In line for its device.
    Turn(usize),
    /// Fetching and working until then.
    Running(usize, f64),
    Blocked(usize),
}

struct Run<'a> {
    stages: &'a [SimulatedStage],
    packs: &'a [f64],
    room: usize,
    now: f64,
    /// Packs that the first stage has taken.
    taken: usize,
    states: Vec<(State, f64)>,
    /// The queue before each stage; that of the first is not used.
    queues: Vec<VecDeque<usize>>,
    /// Of each device: its number, the stage that runs, and those in line.
    devices: Vec<(usize, Option<usize>, VecDeque<usize>)>,
    used: Vec<StageUse>,
    /// Packs that are through, and when the first was.
    done: usize,
    fill: f64,
    /// The device that has the most to do for a pack, and how long.
    busiest: (usize, f64),
    /// When the pipeline was full first, and last: each with the time in which the busiest device has been at it until
    /// then.
    full: [Option<(f64, f64)>; 2],
}

impl<'a> Run<'a> {
    fn new(stages: &'a [SimulatedStage], packs: &'a [f64], room: usize) -> Self {
        let mut numbers: Vec<usize> = stages.iter().map(|stage| stage.device).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Self {
            stages,
            packs,
            room,
            now: 0.0,
            taken: 0,
            states: vec![(State::Starved, 0.0); stages.len()],
            queues: vec![VecDeque::new(); stages.len()],
            devices: numbers
                .into_iter()
                .map(|number| (number, None, VecDeque::new()))
                .collect(),
            used: vec![StageUse::default(); stages.len()],
            done: 0,
            fill: 0.0,
            busiest: busiest(stages),
            full: [None; 2],
        }
    }

    /// Notes the moments between which the pipeline is full: it has filled at the first, and begins to drain after the
    /// second.
    fn note(&mut self) {
        let [first, last] = self.full;
        if first.is_none() && self.done > 0 && 2 * self.taken >= self.packs.len() {
            self.full[0] = Some((self.now, self.worked()));
        }
        if last.is_none() && self.taken == self.packs.len() {
            self.full[1] = Some((self.now, self.worked()));
        }
    }

    /// Seconds in which the busiest device has worked and fetched so far.
    fn worked(&self) -> f64 {
        let here = |stage: &usize| self.stages[*stage].device == self.busiest.0;
        let of_stage = |stage: usize| {
            let (state, since) = self.states[stage];
            let now = match state {
                State::Running(..) => self.now - since,
                _ => 0.0,
            };
            self.used[stage].busy + self.used[stage].copying + now
        };
        (0..self.stages.len()).filter(here).map(of_stage).sum()
    }

    /// Books the time since the stage's last change, and changes it.
    fn enter(&mut self, stage: usize, state: State) {
        let (before, since) = self.states[stage];
        let passed = self.now - since;
        let used = &mut self.used[stage];
        match before {
            State::Starved => used.starved += passed,
            State::Turn(_) => used.turn += passed,
            State::Blocked(_) => used.blocked += passed,
            State::Running(pack, _) => {
                used.busy += self.stages[stage].work * self.packs[pack];
                used.copying += self.stages[stage].copy * self.packs[pack];
            }
        }
        self.states[stage] = (state, self.now);
    }

    /// Does everything that can be done at this moment. From the last stage on: what it takes makes room for others.
    fn settle(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for stage in (0..self.stages.len()).rev() {
                changed |= self.hand_on(stage) | self.take(stage);
            }
            for device in 0..self.devices.len() {
                changed |= self.start(device);
            }
        }
    }

    /// A stage that waits with its pack puts it into the next queue, if there is room; with queues of no packs, if the
    /// next stage waits for one.
    fn hand_on(&mut self, stage: usize) -> bool {
        let State::Blocked(pack) = self.states[stage].0 else {
            return false;
        };
        let next = stage + 1;
        let direct = matches!(self.states[next].0, State::Starved) && self.queues[next].is_empty();
        if self.queues[next].len() >= self.room && !direct {
            return false;
        }
        self.queues[next].push_back(pack);
        self.enter(stage, State::Starved);
        true
    }

    fn take(&mut self, stage: usize) -> bool {
        if !matches!(self.states[stage].0, State::Starved) {
            return false;
        }
        let pack = match stage {
            0 if self.taken < self.packs.len() => {
                self.taken += 1;
                Some(self.taken - 1)
            }
            0 => None,
            _ => self.queues[stage].pop_front(),
        };
        let Some(pack) = pack else {
            return false;
        };
        self.enter(stage, State::Turn(pack));
        let number = self.stages[stage].device;
        for (device, _, line) in &mut self.devices {
            if *device == number {
                line.push_back(stage);
            }
        }
        true
    }

    fn start(&mut self, device: usize) -> bool {
        let (_, running, line) = &mut self.devices[device];
        if running.is_some() {
            return false;
        }
        let Some(stage) = line.pop_front() else {
            return false;
        };
        *running = Some(stage);
        let State::Turn(pack) = self.states[stage].0 else {
            return false;
        };
        let SimulatedStage { work, copy, .. } = self.stages[stage];
        let end = self.now + (work + copy) * self.packs[pack];
        self.enter(stage, State::Running(pack, end));
        true
    }

    fn next_event(&self) -> Option<f64> {
        let ends = self.states.iter().filter_map(|(state, _)| match state {
            State::Running(_, end) => Some(*end),
            _ => None,
        });
        ends.min_by(f64::total_cmp)
    }

    fn advance(&mut self, now: f64) {
        self.now = now;
        for stage in 0..self.stages.len() {
            let State::Running(pack, end) = self.states[stage].0 else {
                continue;
            };
            if end > now {
                continue;
            }
            for (_, running, _) in &mut self.devices {
                if *running == Some(stage) {
                    *running = None;
                }
            }
            if stage + 1 == self.stages.len() {
                if self.done == 0 {
                    self.fill = now;
                }
                self.done += 1;
                self.enter(stage, State::Starved);
            } else {
                self.enter(stage, State::Blocked(pack));
            }
        }
    }

    fn outcome(mut self) -> Outcome {
        for stage in 0..self.stages.len() {
            self.enter(stage, State::Starved);
        }
        let total = self.now;
        let steady = match self.full {
            [Some(first), Some(last)] if last.1 > first.1 => {
                // Sums of many times are not exact, and a device is not busy for longer than all the time.
                let share = (last.1 - first.1) / (last.0 - first.0);
                self.busiest.1 / share.min(1.0)
            }
            _ => total / self.packs.iter().sum::<f64>(),
        };
        let idle = self.devices.iter().map(|(number, ..)| {
            let of_device = self.stages.iter().zip(&self.used);
            let worked: f64 = of_device
                .filter(|(stage, _)| stage.device == *number)
                .map(|(_, used)| used.busy + used.copying)
                .sum();
            (*number, (1.0 - worked / total).max(0.0))
        });
        Outcome {
            fill: self.fill,
            total,
            steady,
            busiest: self.busiest.1,
            idle: idle.collect(),
            stages: self.used,
        }
    }
}

/// The device that has the most to do for a pack of the usual size, and the seconds of it.
fn busiest(stages: &[SimulatedStage]) -> (usize, f64) {
    let of_device = |device: usize| -> f64 {
        let here = stages.iter().filter(|stage| stage.device == device);
        here.map(|stage| stage.work + stage.copy).sum()
    };
    let sums = stages
        .iter()
        .map(|stage| (stage.device, of_device(stage.device)));
    sums.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
}

/// Sizes of `count` packs around 1, evenly spread over `1 - spread` to `1 + spread` in an order that repeats nowhere;
/// the same numbers every time.
#[must_use]
pub fn pack_sizes(count: usize, spread: f64) -> Vec<f64> {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let size = |pack: usize| 1.0 + spread * (2.0 * (pack as f64 * GOLDEN).fract() - 1.0);
    (0..count).map(size).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn on_devices(times: &[(f64, f64, usize)]) -> Vec<SimulatedStage> {
        let stage =
            |&(work, copy, device): &(f64, f64, usize)| SimulatedStage { work, copy, device };
        times.iter().map(stage).collect()
    }

    /// Stages on devices of their own, without copies.
    fn line(times: &[f64]) -> Vec<SimulatedStage> {
        let stage = |(device, work): (usize, &f64)| (*work, 0.0, device);
        on_devices(&times.iter().enumerate().map(stage).collect::<Vec<_>>())
    }

    fn run(stages: &[SimulatedStage], packs: usize) -> Outcome {
        simulate(stages, &vec![1.0; packs], 1).unwrap()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
    }

    #[test]
    fn fill_is_the_sum_and_the_slowest_sets_the_pace() {
        for times in [
            vec![3.0],
            vec![1.0, 4.0],
            vec![5.0, 2.0, 3.0, 5.0],
            vec![1.0; 8],
        ] {
            let (sum, slowest) = (
                times.iter().sum::<f64>(),
                times.iter().copied().fold(0.0, f64::max),
            );
            let found = run(&line(&times), 50);
            assert!(close(found.fill, sum), "{found:?}");
            assert!(close(found.total, sum + 49.0 * slowest), "{found:?}");
            assert!(close(found.steady, slowest), "{found:?}");
            for (time, (_, idle)) in times.iter().zip(&found.idle) {
                assert!(close(*idle, 1.0 - 50.0 * time / found.total), "{found:?}");
            }
        }
        let one = run(&line(&[1.0, 2.0]), 1);
        assert_eq!((one.fill, one.total, one.steady), (3.0, 3.0, 3.0));
    }

    /// A fast stage before a slow one: it is ahead by the pack in the queue and the one in its hands.
    #[test]
    fn a_full_queue_blocks_the_stage_before_it() {
        let found = run(&line(&[1.0, 4.0]), 10);
        assert_eq!(found.total, 41.0);
        // The last pack is handed on when the second stage takes the one before: 1 + 8 × 4.
        let first = found.stages[0];
        assert_eq!(
            (first.busy, first.blocked, first.starved),
            (10.0, 23.0, 8.0)
        );
        let second = found.stages[1];
        assert_eq!(
            (second.busy, second.blocked, second.starved),
            (40.0, 0.0, 1.0)
        );
        // A longer queue takes one more pack early; none is a hand-over.
        let blocked = |queue| {
            let found = simulate(&line(&[1.0, 4.0]), &[1.0; 10], queue).unwrap();
            assert_eq!(found.total, 41.0);
            found.stages[0].blocked
        };
        assert_eq!((blocked(0), blocked(2), blocked(10)), (27.0, 19.0, 0.0));
    }

    #[test]
    fn copies_hold_up_the_stage_that_fetches() {
        let found = run(&on_devices(&[(4.0, 0.0, 0), (4.0, 1.0, 1)]), 20);
        assert_eq!((found.fill, found.steady), (9.0, 5.0));
        assert_eq!(found.stages[1].copying, 20.0);
        assert_eq!(found.total, 9.0 + 19.0 * 5.0);
    }

    /// A stage goes through small packs faster, and takes as long for the work of a usual one.
    #[test]
    fn the_pace_counts_packs_by_their_sizes() {
        let sizes = [[1.0; 50], [0.5; 50]].concat();
        let found = simulate(&line(&[2.0]), &sizes, 1).unwrap();
        assert!(close(found.steady, 2.0), "{found:?}");
        assert_eq!(found.busiest, 2.0);
        let found = simulate(&line(&[1.0, 1.0, 2.0, 1.0]), &sizes, 1).unwrap();
        assert!(close(found.steady, 2.0), "{found:?}");
    }

    #[test]
    fn stages_on_one_device_take_turns() {
        // Two of four stages on each device: a device does 5 for each pack.
        let stages = on_devices(&[(2.0, 0.0, 0), (3.0, 0.0, 0), (1.0, 0.0, 1), (4.0, 0.0, 1)]);
        let found = run(&stages, 100);
        assert_eq!(found.idle.len(), 2);
        assert!(close(found.steady, 5.0), "{found:?}");
        assert!(found.stages[0].turn > 0.0, "{found:?}");
        // All on one device: nothing overlaps.
        let alone = on_devices(&[(2.0, 0.0, 7), (3.0, 0.0, 7)]);
        let found = run(&alone, 10);
        assert_eq!(found.total, 50.0);
        assert_eq!(found.idle, [(7, 0.0)]);
    }

    #[test]
    fn what_cannot_be_simulated() {
        let fails = |stages: &[SimulatedStage], packs: &[f64]| {
            simulate(stages, packs, 1).unwrap_err().to_string()
        };
        assert!(fails(&[], &[1.0]).contains("`stages`: are none"));
        assert!(fails(&line(&[0.0]), &[1.0]).contains("stage 0 takes 0 s"));
        assert!(fails(&line(&[1.0, f64::NAN]), &[1.0]).contains("stage 1 takes NaN s"));
        assert!(fails(&line(&[1.0]), &[]).contains("`packs`: are 0"));
        let many = fails(&line(&[1.0]), &pack_sizes(200_000, 0.0));
        assert!(many.contains("are 200000; give 1 to 100000"), "{many}");
        assert!(fails(&line(&[1.0]), &[1.0, 0.0]).contains("above 0"));
    }

    /// The times at which packs are through, by the recurrence for lines with queues of one:
    /// a stage starts when it has handed on the pack before and this one has arrived, and hands on when the pack before
    /// has been taken from the queue behind it.
    fn recurrence(stages: &[SimulatedStage], packs: &[f64]) -> Vec<f64> {
        let count = stages.len();
        let (mut started, mut left) = (vec![0.0_f64; count + 1], vec![0.0_f64; count]);
        let mut done = Vec::new();
        for size in packs {
            let taken = started.clone();
            let mut arrived = 0.0;
            for (index, stage) in stages.iter().enumerate() {
                started[index] = left[index].max(arrived);
                let end = started[index] + (stage.work + stage.copy) * size;
                left[index] = if index + 1 < count {
                    end.max(taken[index + 1])
                } else {
                    end
                };
                arrived = left[index];
            }
            done.push(arrived);
        }
        done
    }

    proptest! {
        #[test]
        fn as_the_recurrence_says(
            times in prop::collection::vec((0.1_f64..10.0, 0.0_f64..2.0), 1..9),
            sizes in prop::collection::vec(0.2_f64..3.0, 1..60),
        ) {
            let stage = |(device, (work, copy)): (usize, &(f64, f64))| (*work, *copy, device);
            let stages = on_devices(&times.iter().enumerate().map(stage).collect::<Vec<_>>());
            let done = recurrence(&stages, &sizes);
            let found = simulate(&stages, &sizes, 1).unwrap();
            prop_assert!(close(found.fill, done[0]));
            prop_assert!(close(found.total, done[done.len() - 1]), "{} {:?}", found.total, done);
        }

        #[test]
        fn all_time_is_accounted_for(
            times in prop::collection::vec((0.1_f64..10.0, 0.0_f64..2.0, 0_usize..4), 1..9),
            sizes in prop::collection::vec(0.2_f64..3.0, 1..60),
            queue in 0_usize..4,
        ) {
            let stages = on_devices(&times);
            let found = simulate(&stages, &sizes, queue).unwrap();
            let all: f64 = sizes.iter().sum();
            for (stage, used) in stages.iter().zip(&found.stages) {
                prop_assert!(close(used.busy, stage.work * all));
                prop_assert!(close(used.copying, stage.copy * all));
                let sum = used.busy + used.copying + used.blocked + used.turn + used.starved;
                prop_assert!(close(sum, found.total), "{sum} {}", found.total);
            }
            // No faster than its busiest device, nor than one pack; no slower than pack by pack.
            let whole: f64 = stages.iter().map(|stage| stage.work + stage.copy).sum();
            prop_assert!(found.total <= whole * all * (1.0 + 1e-9));
            for (_, idle) in &found.idle {
                prop_assert!((0.0..=1.0).contains(idle));
            }
            prop_assert!(close(found.fill, whole * sizes[0]) || found.fill > whole * sizes[0]);
            for device in 0..4 {
                let here = stages.iter().filter(|stage| stage.device == device);
                let least: f64 = here.map(|stage| stage.work + stage.copy).sum();
                prop_assert!(found.busiest >= least);
                prop_assert!(found.steady >= least * (1.0 - 1e-9), "{} {least}", found.steady);
            }
        }

        /// The pace is that of everything, but for filling and draining.
        #[test]
        fn the_pace_is_that_of_the_whole(
            times in prop::collection::vec((0.1_f64..10.0, 0.0_f64..2.0), 1..5),
            sizes in prop::collection::vec(0.5_f64..1.5, 300..400),
        ) {
            let stage = |(device, (work, copy)): (usize, &(f64, f64))| (*work, *copy, device);
            let stages = on_devices(&times.iter().enumerate().map(stage).collect::<Vec<_>>());
            let found = simulate(&stages, &sizes, 1).unwrap();
            let all = found.total / sizes.iter().sum::<f64>();
            prop_assert!((found.steady / all - 1.0).abs() < 0.1, "{} {all}", found.steady);
        }

        #[test]
        fn more_room_never_slows_a_line(
            times in prop::collection::vec(0.1_f64..10.0, 1..9),
            sizes in prop::collection::vec(0.2_f64..3.0, 1..60),
            queue in 0_usize..4,
        ) {
            let total = |queue| simulate(&line(&times), &sizes, queue).unwrap().total;
            prop_assert!(total(queue + 1) <= total(queue) * (1.0 + 1e-9));
        }
    }

    #[test]
    fn sizes_lie_around_one() {
        assert_eq!(pack_sizes(3, 0.0), [1.0; 3]);
        let sizes = pack_sizes(1000, 0.5);
        let mean = sizes.iter().sum::<f64>() / 1000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(sizes.iter().all(|size| (0.5..=1.5).contains(size)));
    }
}
