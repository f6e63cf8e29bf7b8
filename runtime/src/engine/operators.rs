//! The operators that a session on the CPU gets from us: products with bfloat16 weights, and packed attention.
//!
//! They stand in graphs that [`worldpm_ort_bundle::fused`] rewrites when they are loaded.

mod operand;

use std::{
    cell::RefCell,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use ort::{
    operator::{
        BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput,
        OperatorOutput,
    },
    value::{TensorElementType, ValueRef, ValueRefMut},
};
use worldpm_ort_bundle::fused;
use worldpm_ort_kernels::{
    Activation, Attention, Kernels, Mask, Precision, ShapeError, Threads, Weight,
};

pub(super) use self::operand::required;
use self::operand::{FLOAT, Form, Operand, Sizes};

const INT64: TensorElementType = TensorElementType::Int64;

/// The kernels of a session: its nodes run one after the other.
#[derive(Clone)]
struct Shared {
    kernels: Arc<Mutex<Kernels>>,
    precision: Precision,
    threads: NonZeroUsize,
}

/// The operators of [`fused::DOMAIN`] for a session that computes on `threads` threads.
pub(crate) fn operators(
    kernels: Kernels,
    precision: Precision,
    threads: NonZeroUsize,
) -> ort::Result<OperatorDomain> {
    let shared = Shared {
        kernels: Arc::new(Mutex::new(kernels)),
        precision,
        threads,
    };
    let mut domain = OperatorDomain::new(fused::DOMAIN)?.add(PackedAttention(shared.clone()))?;
    for form in Form::ALL {
        domain = domain.add(Linear(shared.clone(), form))?;
        for is_mlp in [false, true] {
            let shared = shared.clone();
            domain = domain.add(Gated {
                shared,
                form,
                is_mlp,
            })?;
        }
    }
    Ok(domain)
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Kernels) -> T) -> T {
        // A kernel that panicked left nothing but buffers, which are written before they are read.
        work(&mut self.kernels.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The threads of the session that runs a node.
struct SessionThreads<'a> {
    context: &'a ComputeContext,
    count: NonZeroUsize,
    problem: RefCell<Option<ort::Error>>,
}

impl<'a> SessionThreads<'a> {
    fn new(context: &'a ComputeContext, count: NonZeroUsize) -> Self {
        Self {
            context,
            count,
            problem: RefCell::new(None),
        }
    }

    /// The outcome of work on these threads.
    fn outcome(self, result: Result<(), ShapeError>) -> ort::Result<()> {
        if let Some(problem) = self.problem.into_inner() {
            return Err(problem);
        }
        result.map_err(|error| ort::Error::new(error.to_string()))
    }
}

impl Threads for SessionThreads<'_> {
    fn count(&self) -> usize {
        self.count.get()
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync + Send)) {
        if tasks <= 1 {
            (0..tasks).for_each(task);
        } else if let Err(error) = self.context.par_for(tasks, 0, task) {
            self.problem.replace(Some(error));
        }
    }
}

/// See [`fused::LINEAR`] and what follows it.
struct Linear(Shared, Form);

impl Operator for Linear {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        match self.1 {
            Form::Bf16 => fused::LINEAR,
            Form::F16 => fused::LINEAR_F16,
            Form::Blocks => fused::LINEAR_BLOCKS,
            Form::Rows => fused::LINEAR_ROWS,
        }
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        self.1.inputs(1)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'attr>(
        &self,
        context: &KernelContext<'attr>,
    ) -> ort::Result<BoxedKernel<'attr>> {
        let (shared, form) = (self.0.clone(), self.1);
        let precision = match context.get::<i64>(fused::EXACT) {
            Some(0) => form.precision(shared.precision),
            _ => Precision::Highest,
        };
        let sizes = Sizes::read(context);
        Ok(Box::new(move |context: &ComputeContext| {
            let x = required(context, 0)?;
            let operand = Operand::new(context, form, sizes, form.places(0, 1))?;
            let (x, inner) = rows(&x)?;
            let weight = operand.weight()?;
            let shape = [x.len() / inner, width(&weight, inner)?];
            let mut out = output(context, shape)?;
            let (_, out) = out.try_extract_tensor_mut::<f32>()?;
            let threads = SessionThreads::new(context, shared.threads);
            let result = shared
                .with(|kernels| kernels.linear(&threads, precision, (x, inner), &weight, out));
            threads.outcome(result)
        }))
    }
}

/// See [`fused::GATED`] and what follows it.
struct Gated {
    shared: Shared,
    form: Form,
    /// Whether it has the layer behind it, too: see [`fused::MLP`].
    is_mlp: bool,
}

impl Operator for Gated {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        match (self.form, self.is_mlp) {
            (Form::Bf16, false) => fused::GATED,
            (Form::F16, false) => fused::GATED_F16,
            (Form::Blocks, false) => fused::GATED_BLOCKS,
            (Form::Rows, false) => fused::GATED_ROWS,
            (Form::Bf16, true) => fused::MLP,
            (Form::F16, true) => fused::MLP_F16,
            (Form::Blocks, true) => fused::MLP_BLOCKS,
            (Form::Rows, true) => fused::MLP_ROWS,
        }
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        self.form.inputs(2 + usize::from(self.is_mlp))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'attr>(
        &self,
        context: &KernelContext<'attr>,
    ) -> ort::Result<BoxedKernel<'attr>> {
        let (shared, form, is_mlp) = (self.shared.clone(), self.form, self.is_mlp);
        let activation = match context.get::<i64>(fused::ACTIVATION) {
            Some(fused::SILU) => Activation::Silu,
            Some(fused::GELU_TANH) => Activation::GeluTanh,
            other => return Err(ort::Error::new(format!("an activation of {other:?}"))),
        };
        let sizes = Sizes::read(context);
        Ok(Box::new(move |context: &ComputeContext| {
            let operand = |number| {
                let places = form.places(number, 2 + usize::from(is_mlp));
                Operand::new(context, form, sizes, places)
            };
            let (gate, up) = (operand(0)?, operand(1)?);
            let down = if is_mlp { Some(operand(2)?) } else { None };
            let x = required(context, 0)?;
            let (x, inner) = rows(&x)?;
            let (gate, up) = (gate.weight()?, up.weight()?);
            let down = down.as_ref().map(Operand::weight).transpose()?;
            let gated = width(&gate, inner)?;
            let out_width = match &down {
                Some(down) => width(down, gated)?,
                None => gated,
            };
            let mut out = output(context, [x.len() / inner, out_width])?;
            let (_, out) = out.try_extract_tensor_mut::<f32>()?;
            let threads = SessionThreads::new(context, shared.threads);
            let precision = form.precision(shared.precision);
            let x = (x, inner);
            let result = shared.with(|kernels| match &down {
                Some(down) => {
                    let weights = (&gate, &up, down);
                    kernels.mlp(&threads, precision, x, weights, activation, out)
                }
                None => kernels.gated(&threads, precision, x, (&gate, &up), activation, out),
            });
            threads.outcome(result)
        }))
    }
}

fn width(weight: &Weight<'_>, inner: usize) -> ort::Result<usize> {
    weight
        .width(inner)
        .map_err(|error| ort::Error::new(error.to_string()))
}

/// See [`fused::ATTENTION`].
struct PackedAttention(Shared);

impl Operator for PackedAttention {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        fused::ATTENTION
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [FLOAT, FLOAT, FLOAT, INT64, INT64].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'attr>(
        &self,
        context: &KernelContext<'attr>,
    ) -> ort::Result<BoxedKernel<'attr>> {
        let shared = self.0.clone();
        let count = |name: &str| {
            let value = context
                .get::<i64>(name)
                .and_then(|value| usize::try_from(value).ok());
            value.filter(|&value| value > 0)
        };
        let heads = count("num_heads").ok_or_else(|| ort::Error::new("no `num_heads`"))?;
        let key_value_heads =
            count("kv_num_heads").ok_or_else(|| ort::Error::new("no `kv_num_heads`"))?;
        // ONNX Runtime's operator takes 0 for the default of both.
        let scale = context.get::<f32>("scale").filter(|&scale| scale != 0.0);
        let softcap = context.get::<f32>("softcap").filter(|&cap| cap > 0.0);
        let window = count("local_window_size");
        Ok(Box::new(move |context: &ComputeContext| {
            let (query, key, value) = (
                required(context, 0)?,
                required(context, 1)?,
                required(context, 2)?,
            );
            let (row_tokens, cells) = (required(context, 3)?, required(context, 4)?);
            let (query, width) = rows(&query)?;
            let (_, cells) = cells.try_extract_tensor::<i64>()?;
            let (shape, row_tokens) = row_tokens.try_extract_tensor::<i64>()?;
            let size = width / heads;
            let attention = Attention {
                query,
                key: rows(&key)?.0,
                value: rows(&value)?.0,
                heads,
                key_value_heads,
                size,
                row_tokens,
                columns: shape
                    .last()
                    .and_then(|&size| usize::try_from(size).ok())
                    .unwrap_or(0),
                cells,
                mask: Mask {
                    scale: scale.unwrap_or_else(|| 1.0 / (size as f32).sqrt()),
                    softcap,
                    window,
                },
            };
            let mut out = output(context, [cells.len(), heads * size])?;
            let (_, out) = out.try_extract_tensor_mut::<f32>()?;
            let threads = SessionThreads::new(context, shared.threads);
            // With one number for a float it would round most of all, and be hardly any faster.
            let precision = match shared.precision {
                Precision::Medium => Precision::High,
                other => other,
            };
            let result =
                shared.with(|kernels| kernels.attention(&threads, precision, &attention, out));
            threads.outcome(result)
        }))
    }
}

pub(super) fn output(context: &ComputeContext, shape: [usize; 2]) -> ort::Result<ValueRefMut<'_>> {
    context
        .output(0, shape.map(|size| size as i64))?
        .ok_or_else(|| ort::Error::new("nothing reads the output"))
}

/// The elements of a matrix of floats, and its columns.
pub(super) fn rows<'a>(value: &'a ValueRef<'_>) -> ort::Result<(&'a [f32], usize)> {
    let (shape, elements) = value.try_extract_tensor::<f32>()?;
    match (shape.len(), shape.last()) {
        (2, Some(&columns)) if columns > 0 => Ok((elements, usize::try_from(columns).unwrap_or(1))),
        _ => Err(ort::Error::new(format!("operands of the shape {shape:?}"))),
    }
}
