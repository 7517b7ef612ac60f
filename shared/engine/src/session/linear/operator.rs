use std::sync::{Arc, Mutex, PoisonError};

use cogwheel_graph::LinearOperator;
use cogwheel_product::{Scratch, Threads};
use cogwheel_tensor::Tensor;
use ort::{
    operator::{
        ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput,
        OperatorOutput, ShapeInferenceContext,
    },
    value::{Shape, SymbolicDimensions, TensorElementType, ValueType},
};

use super::{OPERATOR, Products, Weight};

/// The domain with the operator over these weights.
pub(in crate::session) fn domain(products: Arc<Products>) -> ort::Result<OperatorDomain> {
    let scratch = Arc::default();
    OperatorDomain::new(OPERATOR.domain)?.add(Definition { products, scratch })
}

/// The operator: fp32 `[rows, in]` and perhaps a bias `[out]` to `[rows, out]`.
struct Definition {
    products: Arc<Products>,
    /// One for all: operators of a session run one after another.
    scratch: Arc<Mutex<Scratch>>,
}

/// The operator at one place of the graph.
struct Layer {
    /// Of its weight, in the checkpoint.
    name: String,
    products: Arc<Products>,
    weight: Arc<Weight>,
    scratch: Arc<Mutex<Scratch>>,
}

impl Operator for Definition {
    type Kernel<'attr> = Layer;

    fn name(&self) -> &str {
        OPERATOR.name
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        [OperatorInput::required(float), OperatorInput::optional(float)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Layer> {
        let name: String = context.get(LinearOperator::WEIGHT).unwrap_or_default();
        let weight = self.products.weights.get(&name);
        let weight = weight.ok_or_else(|| ort::Error::new(format!("no packed weight {name:?}")))?;
        Ok(Layer {
            name: name.clone(),
            products: Arc::clone(&self.products),
            weight: Arc::clone(weight),
            scratch: Arc::clone(&self.scratch),
        })
    }

    /// As many rows as the activations have: a loop wants to know the shape's rank, and plans of memory which shapes are
    /// equal. What is not known needs a name that nothing else has; without one, -1 would be taken for the number.
    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let name: String = context.attr(LinearOperator::WEIGHT)?;
        let Some(weight) = self.products.weights.get(&name) else { return Ok(()) };
        let (rows, symbol) = match context.inputs().first() {
            Some(ValueType::Tensor { shape, dimension_symbols, .. }) if shape.len() == 2 => {
                (shape[0], dimension_symbols.first().cloned().unwrap_or_default())
            }
            _ => (-1, String::new()),
        };
        let symbol = if rows < 0 && symbol.is_empty() {
            format!("rows of {}", context.attr::<String>(LinearOperator::RESULT)?)
        } else {
            symbol
        };
        let result = ValueType::Tensor {
            ty: TensorElementType::Float32,
            shape: Shape::new([rows, weight.outputs() as i64]),
            dimension_symbols: SymbolicDimensions::new([symbol, String::new()]),
        };
        context.set_output(0, &result)
    }
}

impl Kernel for Layer {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let x = context.input(0)?.ok_or_else(|| ort::Error::new("no activations"))?;
        let (shape, x) = x.try_extract_tensor::<f32>()?;
        let &[rows, inputs] = &**shape else {
            return Err(ort::Error::new(format!("expected [rows, in], found {shape:?}")));
        };
        let variant = self.products.variant();
        let changed = variant.as_ref().and_then(|variant| variant.layers.get(&self.name));
        let weight = changed.and_then(|layer| layer.weight.as_ref()).unwrap_or(&self.weight);
        if usize::try_from(inputs) != Ok(weight.inputs()) {
            let expected = weight.inputs();
            return Err(ort::Error::new(format!("expected {expected} inputs, found {inputs}")));
        }
        let bias = if context.num_inputs()? > 1 { context.input(1)? } else { None };
        let bias = bias.as_ref().map(|bias| bias.try_extract_tensor::<f32>()).transpose()?;
        let changed_bias = changed.and_then(|layer| layer.bias.as_ref()).map(Tensor::as_f32);
        let changed_bias =
            changed_bias.transpose().map_err(|error| ort::Error::new(error.to_string()))?;

        let outputs = weight.outputs() as i64;
        let y = context.output(0, [rows, outputs])?;
        let mut y = y.ok_or_else(|| ort::Error::new("no result"))?;
        let (_, y) = y.try_extract_tensor_mut::<f32>()?;
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let bias = changed_bias.as_deref().or(bias.map(|(_, bias)| bias));
        let pool = Pool { context, count: self.products.threads };
        let rows = usize::try_from(rows).unwrap_or_default();
        let done = weight.apply(bias, (rows, x, y), &pool, &mut scratch);
        done.map_err(|error| ort::Error::new(error.to_string()))
    }
}

/// The session's own threads.
struct Pool<'a> {
    context: &'a ComputeContext,
    count: usize,
}

// SAFETY: each number is handed out once.
unsafe impl Threads for Pool<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn each(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        // Each in a batch of its own: a thread that is done takes the next. Where it fails nothing was begun.
        if self.context.par_for(tasks, tasks, work).is_err() {
            (0..tasks).for_each(work);
        }
    }
}
