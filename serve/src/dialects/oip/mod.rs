//! The Open Inference Protocol (KServe's version 2), as Triton, KServe and MLServer speak it: `v2/…` in REST, and gRPC's
//! `inference.GRPCInferenceService` on the same port.
//!
//! A model has these tensors, for N conversations:
//!
//! | input | datatype | shape | |
//! |---|---|---|---|
//! | `text`, or `sentences` | BYTES | `[N]` or `[N, 1]` | texts that the template made |
//! | `input_ids`, or `tokens` | INT64, INT32 | `[N, L]` | their tokens; padded ones need one of the next two |
//! | `attention_mask` | INT64, INT32 | `[N, L]` | 1 for each token of a conversation |
//! | `sequence_lengths` | INT64, INT32 | `[N]` or `[N, 1]` | tokens of each conversation, the first of its row |
//! | `conversation` | BYTES | `[N]` or `[N, 1]` | JSON: messages, or a record of one conversation |
//! | `add_EOS` | BOOL | any | false: nothing is put at the end of a text |
//!
//! | output | datatype | shape | |
//! |---|---|---|---|
//! | `score` | FP32 | `[N, 1]` | of a model that gives one |
//! | `scores` | FP32 | `[N, labels]` | of a model with several labels |
//! | `rewards` | FP32 | as its own | the same, by NeMo-Aligner's name; only where it is asked for |

mod grpc;
mod inference;
mod interface;
mod rest;
mod routes;
mod tensor;

pub(crate) use routes::routes;
