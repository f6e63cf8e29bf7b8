//! What the system says of this process, by the names that all programs use.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// What the system says of this process; what it does not say is left out.
#[derive(Debug)]
pub(super) struct ProcessMetrics;

/// `/proc/self/stat`, of which the fields are counted from 1 in proc(5).
struct Stat(Vec<f64>);

impl Stat {
    /// The first field that comes after the name of the program, which may have blanks and brackets.
    const FIRST: usize = 3;

    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        let (_, fields) = text.rsplit_once(')')?;
        let fields = fields.split_ascii_whitespace();
        Some(Self(
            fields.map(|field| field.parse().unwrap_or(0.0)).collect(),
        ))
    }

    fn field(&self, number: usize) -> Option<f64> {
        self.0.get(number - Self::FIRST).copied()
    }
}

/// Seconds since 1970 at which the machine was started.
fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn open_files() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| match value {
            Some(value) => {
                let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(gauge)
            }
            None => Ok(()),
        };
        let stat = Stat::read();
        let field = |number| stat.as_ref()?.field(number);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as f64;
        gauge(
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM",
            field(24).map(|pages| pages * page),
        )?;
        gauge(
            "process_virtual_memory_bytes",
            "Memory of the process",
            field(23),
        )?;
        gauge(
            "process_start_time_seconds",
            "When the process was started, in seconds since 1970",
            field(22)
                .zip(boot_time())
                .map(|(started, boot)| boot + started / ticks),
        )?;
        gauge("process_threads", "Threads of the process", field(20))?;
        gauge(
            "process_open_fds",
            "Files and sockets that are open",
            open_files().map(|files| files as f64),
        )?;
        if let Some((user, system)) = field(14).zip(field(15)) {
            let (name, help) = ("process_cpu_seconds", "Time of processors spent");
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new((user + system) / ticks).encode(counter)?;
        }
        Ok(())
    }
}
