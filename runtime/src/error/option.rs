use std::fmt;

use worldpm_ort_bundle::Bytes;

use crate::host::gpu::NoKernels;

/// Why an option does not fit the model or the machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OptionProblem {
    /// `devices`: ONNX Runtime's library has no kernels for any GPU of the machine.
    NoKernels(NoKernels),
    /// `devices`: the model fits on no GPU of the machine, for this reason.
    NoPlace(crate::deploy::placement::PlaceError),
    /// `devices`: more devices on the CPU than threads for them.
    TooManyDevices {
        /// Devices in use.
        devices: usize,
        /// Threads.
        threads: usize,
    },
    /// `replicas`: fewer copies of the model fit.
    TooManyReplicas {
        /// Copies that were asked for.
        wanted: usize,
        /// How many fit, and where.
        placement: String,
    },
    /// `replicas`: the model is streamed.
    StreamedReplicas,
    /// `memory`: the model does not fit.
    TooLittleMemory {
        /// What there is.
        memory: Bytes,
        /// What the model takes when it is resident.
        resident: Bytes,
        /// What it takes when it is streamed.
        streamed: Bytes,
        /// Where the model is to be streamed: the graph that takes the most.
        largest: Option<String>,
        /// Whether it can be streamed.
        may_be_streamed: bool,
        /// Its stages, and its layers, each of which could be one.
        stages: (usize, usize),
    },
    /// `reduce`: the model does not score steps.
    NoStepsToReduce,
    /// `pooling`: the model does not score steps.
    NotAtEachToken,
    /// `pooling`: the model scores steps.
    OnlyAtStepTokens,
}

impl fmt::Display for OptionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKernels(why) => write!(
                f,
                "{why}; for a library that has kernels for it, name the device with --device"
            ),
            Self::NoPlace(error) => error.fmt(f),
            Self::TooManyDevices { devices, threads } => write!(
                f,
                "{devices} devices on the CPU need as many threads, and there are {threads}; list fewer, or ask for more \
                 threads (--threads)"
            ),
            Self::TooManyReplicas { wanted, placement } => {
                write!(f, "{wanted} copies of the model were asked for; {placement}")
            }
            Self::StreamedReplicas => f.write_str(
                "copies of a model that is streamed would only wait for each other; leave the option out",
            ),
            Self::TooLittleMemory {
                memory,
                resident,
                streamed,
                largest,
                may_be_streamed,
                stages: (stages, layers),
            } => {
                let more_stages = match stages < layers {
                    true => format!(
                        "export the checkpoint again with more stages than {stages} (up to one for each of its {layers} \
                         layers), or "
                    ),
                    false => String::new(),
                };
                match largest {
                    Some(graph) => write!(
                        f,
                        "streaming takes {streamed}, for {graph} and what goes through it, and there are {memory}; \
                         {more_stages}give a lower token budget, or at least that much memory"
                    ),
                    None if *may_be_streamed => write!(
                        f,
                        "the model takes {resident} and there are {memory}; give at least that much, or let it be \
                         streamed, which takes {streamed}"
                    ),
                    None => write!(
                        f,
                        "the model takes {resident} and there are {memory}; give at least that much, or {more_stages}give \
                         a lower token budget"
                    ),
                }
            }
            Self::NoStepsToReduce => f.write_str(
                "the model scores an answer as a whole, and there are no steps whose scores could be made into one; leave \
                 the option out",
            ),
            Self::NotAtEachToken => {
                f.write_str("the model scores an answer as a whole and not at each token")
            }
            Self::OnlyAtStepTokens => {
                f.write_str("the model is scored at each step token and at no other")
            }
        }
    }
}
