//! Tensors that go into sessions, and come out of them.

use ort::value::{DynValue, PrimitiveTensorElementType, Tensor, TensorElementType};

/// `values` as a tensor, the last one twice when their number is odd.
///
/// The tokens and the scores of a pack are the rows of matrix products. ONNX Runtime's kernels for quantised weights
/// work on two rows at a time, and sum a last single row in another order. With an even number of rows a score does
/// not depend on the number of tokens it is computed with. The row more reads what the last one reads, and nothing
/// reads it.
pub(super) fn list(values: &[i64]) -> ort::Result<DynValue> {
    let mut values = values.to_vec();
    if let (Some(&last), 1) = (values.last(), values.len() % 2) {
        values.push(last);
    }
    Ok(Tensor::from_array((vec![values.len()], values))?.into_dyn())
}

/// A copy that does not keep the memory of the session that made it.
pub(super) fn detached(value: &DynValue) -> ort::Result<DynValue> {
    fn copy<T: PrimitiveTensorElementType + std::fmt::Debug + Copy + 'static>(
        value: &DynValue,
    ) -> ort::Result<DynValue> {
        let (shape, elements) = value.try_extract_tensor::<T>()?;
        Ok(Tensor::from_array((shape.to_vec(), elements.to_vec()))?.into_dyn())
    }
    match value.data_type() {
        TensorElementType::Float32 => copy::<f32>(value),
        TensorElementType::Float16 => copy::<half::f16>(value),
        TensorElementType::Bfloat16 => copy::<half::bf16>(value),
        other => Err(ort::Error::new(format!("hidden states are {other}"))),
    }
}
