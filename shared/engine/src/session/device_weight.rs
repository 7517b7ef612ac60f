use std::sync::Arc;

use cogwheel_tensor::Tensor;
use ort::{
    memory::AllocationDevice,
    value::{DynTensor, DynValue},
};

use super::value;
use crate::EngineError;

/// A weight where sessions compute, for any number of them.
///
/// ONNX Runtime takes initializers only over memory that is its user's, and what is brought to a GPU lies in its own. So this
/// keeps the tensor that owns the memory, and gives sessions another one over the same memory. A session must not outlive
/// this.
#[derive(Debug)]
pub(super) struct DeviceWeight {
    value: Arc<DynValue>,
    /// Declared after what reads its memory, so freed after it.
    _owner: DynTensor,
}

impl DeviceWeight {
    /// A copy of the tensor there.
    pub(super) fn bring(
        tensor: &Tensor,
        device: AllocationDevice<'_>,
    ) -> Result<Self, EngineError> {
        let owner = value::brought(tensor, device)?;
        // SAFETY: the owner is kept beside the value, and those who give it to a session keep this for as long.
        let value = unsafe { value::borrowed(&owner) }?;
        Ok(Self { value: Arc::new(value), _owner: owner })
    }

    /// What a session is given.
    pub(super) fn value(&self) -> Arc<DynValue> {
        Arc::clone(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, collections::HashMap};

    use cogwheel_graph::{Dim, GraphBuilder, Model, WeightSlot};
    use cogwheel_tensor::DType;
    use ort::{inputs, session::Session};

    use super::*;
    use crate::{
        Runtime, SessionOptions,
        session::create::{self, Supplied},
    };

    const WIDTH: usize = 48;

    /// `x * weight + bias`.
    fn model() -> Model {
        let mut g = GraphBuilder::new("linear");
        let dims = [Dim::Free("rows"), Dim::Fixed(WIDTH)];
        let x = g.input("x", DType::F32, &dims).unwrap();
        let weight = g.weight("weight", DType::F32, &[WIDTH, WIDTH]);
        let bias = g.weight("bias", DType::F32, &[WIDTH]);
        let y = g.linear(&x, &weight, Some(&bias)).unwrap();
        g.output("y", &y, &dims).unwrap();
        g.finish()
    }

    fn ramp(shape: &[usize], factor: f32) -> Tensor {
        let values = (0..shape.iter().product::<usize>()).map(|i| (i % 97) as f32 * factor);
        Tensor::from_f32(shape, values.collect()).unwrap()
    }

    fn session(runtime: &Runtime, weights: &HashMap<String, Supplied>) -> (Session, Vec<Supplied>) {
        let weight = |slot: &WeightSlot| Ok(weights[&slot.name].clone());
        let options = SessionOptions { prepack: false, variants: true, ..Default::default() };
        let model = Cow::Owned(model());
        create::session(runtime, model, None, &weight, &options).unwrap()
    }

    fn run(session: &mut Session) -> Vec<f32> {
        let x: Vec<f32> = (0..2 * WIDTH).map(|i| i as f32 * 0.01).collect();
        let x = ort::value::Tensor::from_array(([2, WIDTH], x)).unwrap();
        let outputs = session.run(inputs!["x" => x]).unwrap();
        outputs[0].try_extract_tensor::<f32>().unwrap().1.to_vec()
    }

    /// The device is the CPU here; the path is that of a GPU's memory.
    #[test]
    fn sessions_share_a_weight_in_memory_of_the_runtimes_own_and_outlive_each_other() {
        let runtime = Runtime::load().unwrap();
        let (weight, bias) = (ramp(&[WIDTH, WIDTH], 0.02), ramp(&[WIDTH], 0.1));
        let other = ramp(&[WIDTH], -0.3);
        let [shared, base, changed] = [&weight, &bias, &other].map(|tensor| {
            Supplied::Device(Arc::new(DeviceWeight::bring(tensor, AllocationDevice::CPU).unwrap()))
        });
        let table = |weight: &Supplied, bias: &Supplied| {
            let named = [("weight", weight), ("bias", bias)];
            named.map(|(name, supplied)| (name.to_owned(), supplied.clone())).into()
        };
        let mut model = session(&runtime, &table(&shared, &base));
        let mut variant = session(&runtime, &table(&shared, &changed));
        drop((shared, base, changed));
        let [weight, bias, other] = [weight, bias, other].map(Supplied::Host);
        let expected = run(&mut session(&runtime, &table(&weight, &bias)).0);
        let expected_variant = run(&mut session(&runtime, &table(&weight, &other)).0);
        assert_ne!(expected, expected_variant);
        for _ in 0..2 {
            assert_eq!(run(&mut model.0), expected);
            assert_eq!(run(&mut variant.0), expected_variant);
        }
        drop(model);
        assert_eq!(run(&mut variant.0), expected_variant);
    }

    #[test]
    fn a_value_reads_its_owners_memory() {
        let _runtime = Runtime::load().unwrap();
        let tensor = ramp(&[3, 5], 0.5);
        let weight = DeviceWeight::bring(&tensor, AllocationDevice::CPU).unwrap();
        let value = weight.value();
        let (shape, values) = value.try_extract_tensor::<f32>().unwrap();
        assert_eq!(**shape, [3, 5]);
        assert_eq!(values, &*tensor.as_f32().unwrap());
        assert_eq!(values.as_ptr().cast(), weight._owner.data_ptr());
    }
}
