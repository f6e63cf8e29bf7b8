//! How a scorer is opened.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use worldpm_ort_bundle::Pooling;
use worldpm_ort_kernels::Precision as MatmulPrecision;

use crate::{
    batch::Budget,
    deploy::residency::Residency,
    engine::{LinearInputs, Observer},
    ep::{Devices, ProviderOptions},
    queue::QueueOptions,
    reward::Reduction,
    text::{SpecialTokenHandling, SystemDefault, Truncation},
};

/// How a [`Scorer`](crate::Scorer) is opened. [`Default`] suits most uses.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScorerOptions {
    /// Where the stages run. Default [`Devices::Auto`].
    pub devices: Devices,
    /// Options of the devices' providers. Default: none.
    pub providers: ProviderOptions,
    /// Threads for CPU work. Default: as many as the process may use.
    pub threads: Option<NonZeroUsize>,
    /// Whether each thread for CPU work stays on a processor of its own. Helps where several processes or `cpu` devices
    /// divide a machine. Each stage has threads of its own then, which costs their stacks. Linux only. Default: no.
    pub pin_threads: bool,
    /// Copies of the model, each on its part of the devices, that take conversations from one line. Default: one; on
    /// GPUs that [`Devices::Auto`] finds, as many as fit.
    pub replicas: Option<NonZeroUsize>,
    /// How much of the model is in memory. Default [`Residency::Auto`].
    pub residency: Residency,
    /// Bytes of memory that scoring may take: of the host on the CPU, with the program and the tokenizer, else of each GPU.
    /// Decides about [`Residency::Auto`] and about how much is streamed at once; on the CPU it bounds the length of
    /// conversations. A model that it does not hold by the estimate is refused. Default: what the machine has free; on
    /// GPUs, enough.
    pub memory: Option<u64>,
    /// Called at every load and run of a stage. Default: nothing.
    pub observer: Option<Arc<dyn Observer>>,
    /// Whether our own kernels compute on CPUs that have units for bfloat16 numbers, in place of ONNX Runtime's: attention
    /// in floats, and products with weights of 16 bits or integers. Default: yes.
    pub kernels: bool,
    /// How exactly those kernels multiply. Default: [`MatmulPrecision::Highest`], as exactly as floats. With the weights of
    /// `w8a8` always [`MatmulPrecision::Medium`]: 8 bits of each activation; on CPUs without AMX with those of `int8` and `int4`
    /// as well.
    pub matmul_precision: MatmulPrecision,
    /// Whether results on the CPU are rounded to bfloat16, which shows how far a computation in bfloat16 moves scores.
    /// Default: no.
    #[doc(hidden)]
    pub simulate_bf16: bool,
    /// Who sees the inputs of linear layers on the CPU, as `export` needs them to round weights. Default: nobody.
    #[doc(hidden)]
    pub linear_inputs: Option<Arc<dyn LinearInputs>>,
    /// Folder that ONNX Runtime writes a profile of each stage into when the stage is dropped: a JSON file of events for
    /// each node that was run. Default: none. Costs a few microseconds for each node.
    pub profile: Option<PathBuf>,
    /// How much goes into one run of the model.
    pub budget: Budget,
    /// How much may wait to be scored, and for how long a conversation waits for others that fill its run.
    pub queue: QueueOptions,
    /// Most tokens of a conversation. Default, and upper bound: the bundle's own limit.
    pub max_length: Option<usize>,
    /// What happens to a longer conversation. Default [`Truncation::Refuse`].
    pub truncation: Truncation,
    /// ONNX Runtime's library. Default: the first found, see
    /// [`library_candidates`](crate::engine::library_candidates).
    pub ort_library: Option<PathBuf>,
    /// Folder of the weights. Default: where the bundle says.
    pub weights_dir: Option<PathBuf>,
    /// Which token is scored. Default: the bundle's own rule. A model that scores steps has no other rule, though it
    /// may have another step token.
    pub pooling: Option<Pooling>,
    /// The time that a chat template may write into the text, see [`TextOptions::now`](crate::text::TextOptions::now).
    /// Default: the machine's clock.
    pub now: Option<i64>,
    /// What makes one score of the rewards of an answer's steps, for a model that scores steps. Default: nothing, the
    /// steps stay apart.
    pub reduce: Option<Reduction>,
    /// Whether conversations are scored that do not end with an assistant's message. Default: no, they are an error, since
    /// the number that a model gives for them says nothing of an answer.
    pub allow_no_answer: bool,
    /// What is done with a text that was templated elsewhere and begins with a default system prompt that the model was
    /// not trained on. Default [`SystemDefault::Keep`].
    pub system_default: SystemDefault,
    /// Whether the token at which the model is scored is put behind a text that was templated elsewhere and does not end
    /// with it. Nothing else is added that may be missing before it. Default: no, such a text is an error. Says nothing
    /// where the bundle names no such token.
    pub append_end_token: bool,
    /// What the text of a special token stands for in the content of a conversation. Default
    /// [`SpecialTokenHandling::Parse`].
    pub special_tokens: SpecialTokenHandling,
}

impl Default for ScorerOptions {
    fn default() -> Self {
        Self {
            devices: Devices::default(),
            providers: ProviderOptions::default(),
            threads: None,
            pin_threads: false,
            replicas: None,
            residency: Residency::default(),
            memory: None,
            observer: None,
            kernels: true,
            matmul_precision: MatmulPrecision::default(),
            simulate_bf16: false,
            linear_inputs: None,
            profile: None,
            budget: Budget::default(),
            queue: QueueOptions::default(),
            max_length: None,
            truncation: Truncation::default(),
            ort_library: None,
            weights_dir: None,
            pooling: None,
            now: None,
            reduce: None,
            allow_no_answer: false,
            system_default: SystemDefault::default(),
            append_end_token: false,
            special_tokens: SpecialTokenHandling::default(),
        }
    }
}

impl ScorerOptions {
    /// Sets where the stages run.
    #[must_use]
    pub fn with_devices(mut self, devices: Devices) -> Self {
        self.devices = devices;
        self
    }

    /// Sets the options of the devices' providers.
    #[must_use]
    pub fn with_providers(mut self, providers: ProviderOptions) -> Self {
        self.providers = providers;
        self
    }

    /// Sets the number of threads for CPU work.
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Sets how much of the model is in memory.
    #[must_use]
    pub fn with_residency(mut self, residency: Residency) -> Self {
        self.residency = residency;
        self
    }

    /// Sets the bytes of memory that the model may take.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Sets the number of copies of the model.
    #[must_use]
    pub fn with_replicas(mut self, replicas: NonZeroUsize) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// Sets what is called at every load and run of a stage.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Sets how much goes into one run of the model.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Sets the most tokens of a conversation.
    #[must_use]
    pub fn with_max_length(mut self, tokens: usize) -> Self {
        self.max_length = Some(tokens);
        self
    }

    /// Sets what happens to a conversation that is too long.
    #[must_use]
    pub fn with_truncation(mut self, truncation: Truncation) -> Self {
        self.truncation = truncation;
        self
    }

    /// Sets the file of ONNX Runtime's library.
    #[must_use]
    pub fn with_ort_library(mut self, path: impl Into<PathBuf>) -> Self {
        self.ort_library = Some(path.into());
        self
    }

    /// Sets the folder of the weights, for a checkpoint that has moved since the export.
    #[must_use]
    pub fn with_weights_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.weights_dir = Some(path.into());
        self
    }

    /// Sets which token is scored.
    #[must_use]
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = Some(pooling);
        self
    }

    /// Sets the time that a chat template may write into the text, in seconds since 1970.
    #[must_use]
    pub fn with_now(mut self, seconds: i64) -> Self {
        self.now = Some(seconds);
        self
    }

    /// Sets what makes one score of the rewards of an answer's steps.
    #[must_use]
    pub fn with_reduce(mut self, reduction: Reduction) -> Self {
        self.reduce = Some(reduction);
        self
    }

    /// Sets whether conversations are scored that do not end with an assistant's message.
    #[must_use]
    pub fn with_allow_no_answer(mut self, allow: bool) -> Self {
        self.allow_no_answer = allow;
        self
    }

    /// Sets what is done with a text that begins with a default system prompt that the model was not trained on.
    #[must_use]
    pub fn with_system_default(mut self, way: SystemDefault) -> Self {
        self.system_default = way;
        self
    }

    /// Sets whether the token at which the model is scored is put behind a text that does not end with it.
    #[must_use]
    pub fn with_append_end_token(mut self, append: bool) -> Self {
        self.append_end_token = append;
        self
    }

    /// Sets what the text of a special token stands for in the content of a conversation.
    #[must_use]
    pub fn with_special_tokens(mut self, handling: SpecialTokenHandling) -> Self {
        self.special_tokens = handling;
        self
    }
}
