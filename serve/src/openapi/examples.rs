//! What examples are made of. Where the description is asked for, [`MODEL`] and [`TEXT`] become those of the server.

/// The name of a model.
pub(crate) const MODEL: &str = "worldpm";
pub(crate) const PROMPT: &str = "Tips for better sleep?";
pub(crate) const ANSWER: &str = "Keep a regular bedtime.";
pub(crate) const OTHER_ANSWER: &str = "just sleep lol";
/// What the chat template of WorldPM makes of the prompt and the answer.
pub(crate) const TEXT: &str = "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n<|im_start|>user\nTips for better sleep?<|im_end|>\n<|im_start|>assistant\nKeep a regular bedtime.<|im_end|>\n<|endoftext|>";
