//! How long single conversations take.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use super::{BenchOptions, LatencyReport, Workload, record::Recorder, statistics::Summary};
use crate::{Conversation, Result, Scorer};

/// Measures conversations from all over the workload, alone and then under load. Those that cannot be scored are
/// counted.
pub(super) fn measure(
    scorer: &Scorer,
    recorder: &Recorder,
    workload: &Workload,
    options: &BenchOptions,
) -> LatencyReport {
    let all: Vec<&Conversation> = workload.conversations().collect();
    let chosen = spread(all.len(), options.samples).map(|index| all[index]);
    let chosen: Vec<&Conversation> = chosen.collect();
    // More would have nothing to hand in.
    let clients = options.clients.get().min(chosen.len());
    let mut report = LatencyReport {
        alone: None,
        loaded: None,
        clients,
        failed: 0,
    };
    if chosen.is_empty() {
        return report;
    }
    let (_, alone) = recorder.phase("latency alone", || run(scorer, &chosen, 1));
    let (_, loaded) = recorder.phase("latency under load", || run(scorer, &chosen, clients));
    for (results, summary) in [(alone, &mut report.alone), (loaded, &mut report.loaded)] {
        let all = results.len();
        let seconds: Vec<f64> = results.into_iter().filter_map(Result::ok).collect();
        report.failed += all - seconds.len();
        *summary = Summary::of(&seconds);
    }
    report
}

/// `count` indices, evenly spread over `total`; over and over again when there are fewer.
fn spread(total: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| match count < total {
        true => index * total / count,
        false => index % total.max(1),
    })
}

/// Seconds of each conversation that is scored, with so many clients at it.
fn run(scorer: &Scorer, conversations: &[&Conversation], clients: usize) -> Vec<Result<f64>> {
    let next = AtomicUsize::new(0);
    let client = || {
        let mut seconds = Vec::new();
        while let Some(&conversation) = conversations.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            for reward in scorer.rewards(std::slice::from_ref(conversation)) {
                seconds.push(reward.map(|_| started.elapsed().as_secs_f64()));
            }
        }
        seconds
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let done = clients.into_iter().map(|client| client.join());
        done.flat_map(Result::unwrap_or_default).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_from_everywhere() {
        let spread = |total, count| spread(total, count).collect::<Vec<_>>();
        assert_eq!(spread(10, 5), [0, 2, 4, 6, 8]);
        assert_eq!(spread(3, 3), [0, 1, 2]);
        assert_eq!(spread(2, 5), [0, 1, 0, 1, 0]);
        assert!(spread(10, 0).is_empty());
    }
}
