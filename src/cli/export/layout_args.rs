//! The options of `export` for bundles that other servers run.

use worldpm_ort_bundle::Layout;
use worldpm_ort_export::LayoutOptions;

use crate::cli::common::heading;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::SERVERS)]
pub(crate) struct LayoutArgs {
    /// How the bundle is laid out: plain, triton (a model repository: one ONNX Runtime model per stage, each on its
    /// GPU, and an ensemble) or kserve (the same with Kubernetes objects)
    #[arg(long, value_name = "LAYOUT", default_value_t)]
    pub(crate) layout: Layout,
    /// The name that clients ask for [default: reward-model]
    #[arg(long, value_name = "NAME", requires = "layout")]
    model_name: Option<String>,
    /// Most conversations of a request: memory pools and TensorRT's engines are sized for them [default: 8]
    #[arg(long, value_name = "N", requires = "layout")]
    max_request_rows: Option<u64>,
    /// Most tokens of a conversation of a request, likewise [default: 4096, or the model's limit if lower]
    #[arg(long, value_name = "TOKENS", requires = "layout")]
    max_row_tokens: Option<u64>,
    /// Run the stages in TensorRT; needs --device cuda --target onnx --interface packed. Reads all weights once, for
    /// the names of the engines
    #[arg(long, requires = "layout")]
    triton_tensorrt: bool,
    /// Where KServe fetches the models from [default: pvc://NAME/models]
    #[arg(long, value_name = "URI", requires = "layout")]
    storage_uri: Option<String>,
    /// Triton's image for KServe
    #[arg(long, value_name = "IMAGE", requires = "layout")]
    triton_image: Option<String>,
}

impl LayoutArgs {
    pub(crate) fn options(&self) -> LayoutOptions {
        let default = LayoutOptions::default();
        LayoutOptions {
            model_name: self.model_name.clone().unwrap_or(default.model_name),
            rows: self.max_request_rows.unwrap_or(default.rows),
            row_tokens: self.max_row_tokens.unwrap_or(default.row_tokens),
            tensorrt: self.triton_tensorrt,
            storage_uri: self.storage_uri.clone(),
            image: self.triton_image.clone().unwrap_or(default.image),
        }
    }
}
