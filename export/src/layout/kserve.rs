//! The Kubernetes objects that make KServe run the model repository in Triton.
//!
//! Values that come from options are checked beforehand and quoted as in JSON, which YAML contains.

use std::fmt::Write;

use worldpm_ort_bundle::{
    Device,
    manifest::{Manifest, Model},
};

use super::{
    limits::Limits,
    paths::{BundlePaths, pool_arguments},
    triton::ENGINE_CACHE,
};

const GIB: u64 = 1 << 30;
/// Shared memory, for Triton's own use.
const SHARED_MEMORY: u64 = GIB;

/// The runtime: Triton with the pools that the model needs.
pub(super) fn serving_runtime(places: &BundlePaths, manifest: &Manifest, limits: Limits) -> String {
    let name = places.name();
    let image = &places.layout_options.image;
    let mut arguments = vec![
        "tritonserver".to_owned(),
        "--model-repository=/mnt/models".to_owned(),
        "--http-port=8080".to_owned(),
        "--grpc-port=9000".to_owned(),
        "--metrics-port=8002".to_owned(),
    ];
    arguments.extend(pool_arguments(manifest, limits));
    let arguments = arguments.iter().fold(String::new(), |mut text, argument| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "        - \"{argument}\"");
        text
    });
    let (cache_mount, cache_volume) = match places.layout_options.tensorrt {
        true => (
            format!("        - name: tensorrt-cache\n          mountPath: {ENGINE_CACHE}\n"),
            "    # Engines take long to build: a claim in the place of this keeps them.\n    \
             - name: tensorrt-cache\n      emptyDir: {}\n",
        ),
        false => (String::new(), ""),
    };
    format!(
        "# Written by {producer}.
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata:
  name: \"{name}-triton\"
spec:
  annotations:
    prometheus.kserve.io/port: \"8002\"
    prometheus.kserve.io/path: /metrics
  supportedModelFormats:
    - name: triton
      version: \"2\"
  protocolVersions:
    - v2
    - grpc-v2
  containers:
    - name: kserve-container
      image: \"{image}\"
      args:
{arguments}      ports:
        - containerPort: 8080
          protocol: TCP
      # Loading takes minutes: up to an hour, then the container is started anew.
      startupProbe:
        httpGet:
          path: /v2/health/ready
          port: 8080
        periodSeconds: 10
        failureThreshold: 360
      readinessProbe:
        httpGet:
          path: /v2/health/ready
          port: 8080
        periodSeconds: 10
      securityContext:
        allowPrivilegeEscalation: false
        privileged: false
        runAsNonRoot: true
        runAsUser: 1000
        capabilities:
          drop:
            - ALL
      volumeMounts:
        - name: shared-memory
          mountPath: /dev/shm
{cache_mount}  volumes:
    - name: shared-memory
      emptyDir:
        medium: Memory
        sizeLimit: {shared_memory}Gi
{cache_volume}",
        producer = manifest.producer,
        shared_memory = SHARED_MEMORY / GIB,
    )
}

/// The service: the model, where it is stored, and the devices that it needs.
pub(super) fn inference_service(
    places: &BundlePaths,
    manifest: &Manifest,
    limits: Limits,
) -> String {
    let name = places.name();
    let storage = places
        .layout_options
        .storage_uri
        .clone()
        .unwrap_or_else(|| format!("pvc://{name}/models"));
    let memory = memory(manifest, limits);
    let stages = manifest.stages.len();
    let (cpus, devices) = match manifest.device {
        Device::Cpu => (8, String::new()),
        Device::Cuda => (
            2 * stages,
            format!("          nvidia.com/gpu: \"{stages}\"\n"),
        ),
    };
    format!(
        "# Written by {producer}.
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: \"{name}\"
  annotations:
    serving.kserve.io/deploymentMode: RawDeployment
spec:
  predictor:
    minReplicas: 1
    maxReplicas: 1
    # An update ends the old copy first: beside it there may be no room for another.
    deploymentStrategy:
      type: Recreate
    model:
      modelFormat:
        name: triton
        version: \"2\"
      runtime: \"{name}-triton\"
      protocolVersion: v2
      storageUri: \"{storage}\"
      resources:
        requests:
          cpu: \"{cpus}\"
          memory: {memory}Gi
{devices}        limits:
          memory: {memory}Gi
{devices}",
        producer = manifest.producer,
    )
}

/// Host memory in GiB, estimated. CPU: every weight as a 32-bit float, a tenth on top, and the tensors of requests. CUDA: the
/// pinned pool, and 2 GiB a device for its context and for weights on their way. Both: 4 GiB and the shared memory.
fn memory(manifest: &Manifest, limits: Limits) -> u64 {
    let stages = manifest.stages.len() as u64;
    let work = match manifest.device {
        Device::Cuda => limits.pinned_pool(&manifest.stages) + 2 * GIB * stages,
        Device::Cpu => {
            let floats = 4 * parameters(&manifest.model);
            floats + floats / 10 + limits.pinned_pool(&manifest.stages)
        }
    };
    (work + 4 * GIB + SHARED_MEMORY).div_ceil(GIB)
}

/// Weights of the matrices.
fn parameters(model: &Model) -> u64 {
    let heads = 2 * (model.num_attention_heads + model.num_key_value_heads) * model.head_dim;
    let layer = model.hidden_size * (heads + 3 * model.intermediate_size);
    let ends = model.hidden_size * (model.vocab_size + model.hidden_size);
    (model.num_hidden_layers * layer + ends) as u64
}
