//! The names of the services.

pub(super) const INFERENCE: &str = "inference.GRPCInferenceService";
pub(super) const HEALTH: &str = "grpc.health.v1.Health";
