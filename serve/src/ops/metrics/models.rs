//! What the queues and engines of the models have counted, read when a scrape comes.

use std::{fmt, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use worldpm_ort_runtime::{
    Counters,
    engine::{Health, StageCounters},
    queue::QueueCounters,
};

use crate::{models::State, state::App};

/// What the models have counted so far.
#[derive(Debug)]
pub(super) struct ModelMetrics(Vec<Snapshot>);

#[derive(Debug)]
struct Snapshot {
    name: String,
    /// `None` for a model that is not ready.
    ready: Option<Read>,
}

#[derive(Debug)]
struct Read {
    counters: Counters,
    queue: QueueCounters,
    health: Health,
}

/// A name, what it means, and its value.
type Of<T, V> = (&'static str, &'static str, fn(&T) -> V);

/// What a scorer counts. A number that `Counters` gets is a line here.
const COUNTS: &[Of<Counters, u64>] = &[
    (
        "conversations_scored",
        "Conversations whose scores were handed out",
        |c| c.scored,
    ),
    (
        "conversations_failed",
        "Conversations that came to an error after they were in line",
        |c| c.failed,
    ),
    (
        "conversations_truncated",
        "Conversations of which parts were left out to fit the length limit",
        |c| c.truncated,
    ),
    (
        "foreign_system_prompts",
        "Templated texts that began with a default system prompt which the model was not trained with",
        |c| c.foreign_system_prompts,
    ),
    (
        "conversations_with_special_tokens",
        "Conversations whose messages spell a special token",
        |c| c.special_tokens_in_content,
    ),
    (
        "conversations_planned",
        "Conversations that were put into packs",
        |c| c.planned.conversations as u64,
    ),
    ("packs", "Packs that were planned", |c| {
        c.planned.packs as u64
    }),
    (
        "tokens",
        "Tokens of the conversations that were put into packs",
        |c| c.planned.tokens as u64,
    ),
    (
        "unique_tokens",
        "Those of them that are computed, as shared beginnings are computed once",
        |c| c.planned.unique_tokens as u64,
    ),
    (
        "attention_cells",
        "Cells of the attention of all packs, padding included",
        |c| c.planned.cells as u64,
    ),
    (
        "attention_cells_padded",
        "Those of them that are padding",
        |c| c.planned.padded_cells as u64,
    ),
];

/// Times of a scorer.
const TIMES: &[Of<Counters, Duration>] = &[
    (
        "tokenising_seconds",
        "Time spent with chat templates and the tokenizer, over all threads",
        |c| c.tokenising,
    ),
    (
        "planning_seconds",
        "Time spent with plans and with the inputs of packs",
        |c| c.planning,
    ),
];

/// What is left of a model's copies.
const HEALTH: &[Of<Health, f64>] = &[
    ("model_copies", "Copies of a model that were loaded", |h| {
        h.copies as f64
    }),
    (
        "model_copies_lost",
        "Those of them that have lost a device, which only a new process mends",
        |h| h.lost as f64,
    ),
];

/// What is in a queue at the moment.
const QUEUE: &[Of<QueueCounters, f64>] = &[
    (
        "queue_conversations",
        "Conversations that wait or are computed",
        |q| q.conversations as f64,
    ),
    (
        "queue_tokens",
        "Their tokens, before shared beginnings are taken out",
        |q| q.tokens as f64,
    ),
    (
        "queue_oldest_wait_seconds",
        "How long the oldest conversation has waited that the engine does not have yet; 0 where none waits",
        |q| q.oldest_wait.unwrap_or_default().as_secs_f64(),
    ),
    ("running_packs", "Packs that the engine has in hand", |q| {
        q.running_packs as f64
    }),
];

/// What a stage counts, over all copies of a model.
const STAGE_COUNTS: &[Of<StageCounters, u64>] = &[
    ("stage_packs", "Packs that a stage has run", |s| s.packs),
    ("stage_packs_failed", "Packs that failed in a stage", |s| {
        s.failed
    }),
    (
        "stage_tokens",
        "Unique tokens of the packs that a stage has run",
        |s| s.tokens,
    ),
    ("stage_loads", "How many times a stage was loaded", |s| {
        s.loads
    }),
];

/// Times of a stage.
const STAGE_TIMES: &[Of<StageCounters, Duration>] = &[
    (
        "stage_busy_seconds",
        "Time that a stage ran; its rate over that of a clock is the share it is busy",
        |s| s.busy,
    ),
    (
        "stage_loading_seconds",
        "Time spent with loading a stage",
        |s| s.loading,
    ),
];

impl ModelMetrics {
    pub(super) fn of(app: &App) -> Self {
        let models = app.models().all().iter();
        Self(
            models
                .map(|model| Snapshot {
                    name: model.name().to_owned(),
                    ready: match model.state() {
                        State::Ready(scorer) => Some(Read {
                            counters: scorer.counters(),
                            queue: scorer.queue(),
                            health: scorer.health(),
                        }),
                        State::Loading | State::Failed(_) => None,
                    },
                })
                .collect(),
        )
    }

    fn ready(&self) -> impl Iterator<Item = (&str, &Read)> {
        self.0
            .iter()
            .filter_map(|model| Some((model.name.as_str(), model.ready.as_ref()?)))
    }
}

impl Collector for ModelMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let name = "model_ready";
        let help =
            "Whether a model is loaded, its probes have their scores, and a device is left to it";
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for model in &self.0 {
            let labels = [("model", model.name.as_str())];
            let ready = model.ready.as_ref();
            let value =
                ConstGauge::new(i64::from(ready.is_some_and(|read| !read.health.is_lost())));
            value.encode(gauge.encode_family(&labels)?)?;
        }
        if self.ready().next().is_none() {
            return Ok(());
        }
        for (name, help, value) in HEALTH {
            let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (model, read) in self.ready() {
                let value = ConstGauge::new(value(&read.health));
                value.encode(gauge.encode_family(&[("model", model)])?)?;
            }
        }
        for (name, help, value) in QUEUE {
            let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (model, read) in self.ready() {
                let value = ConstGauge::new(value(&read.queue));
                value.encode(gauge.encode_family(&[("model", model)])?)?;
            }
        }
        for (name, help, value) in COUNTS {
            let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (model, read) in self.ready() {
                let value = ConstCounter::new(value(&read.counters));
                value.encode(counter.encode_family(&[("model", model)])?)?;
            }
        }
        for (name, help, value) in TIMES {
            let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (model, read) in self.ready() {
                let value = ConstCounter::new(value(&read.counters).as_secs_f64());
                value.encode(counter.encode_family(&[("model", model)])?)?;
            }
        }
        for (name, help, value) in STAGE_COUNTS {
            let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, stage) in self.stages() {
                ConstCounter::new(value(stage)).encode(counter.encode_family(&labels)?)?;
            }
        }
        for (name, help, value) in STAGE_TIMES {
            let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, stage) in self.stages() {
                let value = ConstCounter::new(value(stage).as_secs_f64());
                value.encode(counter.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl ModelMetrics {
    fn stages(&self) -> impl Iterator<Item = ([(&'static str, String); 2], &StageCounters)> {
        self.ready().flat_map(|(model, read)| {
            let stages = read.counters.stages.iter().enumerate();
            stages.map(move |(index, stage)| {
                let labels = [("model", model.to_owned()), ("stage", index.to_string())];
                (labels, stage)
            })
        })
    }
}
