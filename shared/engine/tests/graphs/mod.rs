//! Small graphs, and weights for them.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(unreachable_pub, reason = "a module of test binaries, which export nothing")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use cogwheel_engine::WeightSource;
use cogwheel_graph::{Convolution, Dim, GraphBuilder, Model, WeightSlot};
use cogwheel_tensor::{DType, Tensor};

/// Weights by name.
#[derive(Default)]
pub struct Table(pub HashMap<String, Tensor>);

impl WeightSource for Table {
    fn weight(
        &self,
        slot: &WeightSlot,
    ) -> Result<Tensor, Box<dyn std::error::Error + Send + Sync>> {
        self.0.get(&slot.name).cloned().ok_or_else(|| "not in the table".into())
    }
}

/// Values that repeat nowhere near and stay small.
pub fn ramp(shape: &[usize], factor: f32) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values = (0..count).map(|i| ((i * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5);
    Tensor::from_f32(shape, values.map(|v| v * factor).collect()).unwrap()
}

/// The same tensor over bytes that start at an odd address.
pub fn shifted(tensor: &Tensor) -> Tensor {
    let mut bytes = vec![0u8; tensor.bytes().len() + 8];
    let start = (0..8).find(|start| (bytes.as_ptr() as usize + start) % 4 == 1).unwrap();
    bytes[start..start + tensor.bytes().len()].copy_from_slice(tensor.bytes());
    let bytes = Bytes::from(bytes).slice(start..start + tensor.bytes().len());
    assert_eq!(bytes.as_ptr() as usize % 4, 1);
    Tensor::new(tensor.dtype(), tensor.shape(), bytes).unwrap()
}

/// Layers of norm, widening product, gelu, narrowing product, and a residual.
pub fn feed_forward(width: usize, layers: usize) -> (Model, Table) {
    let mut g = GraphBuilder::new("feed_forward");
    let mut table = Table::default();
    let dims = [Dim::Free("rows"), Dim::Fixed(width)];
    let mut x = g.input("x", DType::F32, &dims).unwrap();
    for layer in 0..layers {
        let mut weight = |g: &mut GraphBuilder, name: &str, shape: &[usize]| {
            let name = format!("layers.{layer}.{name}");
            table.0.insert(name.clone(), ramp(shape, 0.3 + layer as f32 * 0.1));
            g.weight(&name, DType::F32, shape)
        };
        let scale = weight(&mut g, "norm.weight", &[width]);
        let shift = weight(&mut g, "norm.bias", &[width]);
        let up = weight(&mut g, "up.weight", &[4 * width, width]);
        let up_bias = weight(&mut g, "up.bias", &[4 * width]);
        let down = weight(&mut g, "down.weight", &[width, 4 * width]);
        let h = g.layer_norm(&x, &scale, Some(&shift), 1e-5).unwrap();
        let h = g.linear(&h, &up, Some(&up_bias)).unwrap();
        let h = g.gelu_tanh(&h);
        let h = g.linear(&h, &down, None).unwrap();
        x = g.add(&x, &h).unwrap();
    }
    g.output("y", &x, &dims).unwrap();
    (g.finish(), table)
}

/// The same model with its weights contained.
pub fn inline(model: &Model, table: &Table) -> Model {
    model.clone().contain(|slot| table.0.get(&slot.name).cloned())
}

/// One product with one square weight, over and over.
pub fn repeated(width: usize, times: usize) -> (Model, Table) {
    let mut g = GraphBuilder::new("repeated");
    let dims = [Dim::Free("rows"), Dim::Fixed(width)];
    let mut x = g.input("x", DType::F32, &dims).unwrap();
    let weight = g.weight("weight", DType::F32, &[width, width]);
    for _ in 0..times {
        x = g.linear(&x, &weight, None).unwrap();
    }
    g.output("y", &x, &dims).unwrap();
    (g.finish(), Table([("weight".to_owned(), ramp(&[width, width], 0.1))].into()))
}

/// A 3x3 convolution and another after it.
pub fn convolution(channels: usize) -> (Model, Table) {
    let mut g = GraphBuilder::new("convolution");
    let dims = [Dim::Free("n"), Dim::Fixed(channels), Dim::Free("h"), Dim::Free("w")];
    let mut x = g.input("x", DType::F32, &dims).unwrap();
    let mut table = Table::default();
    let geometry = Convolution { kernel: &[3, 3], strides: &[], pads: &[1, 1, 1, 1] };
    for layer in 0..2 {
        let mut weight = |name: &str, shape: &[usize]| {
            let name = format!("{layer}.{name}");
            table.0.insert(name.clone(), ramp(shape, 0.4));
            g.weight(&name, DType::F32, shape)
        };
        let kernel = weight("weight", &[channels, channels, 3, 3]);
        let bias = weight("bias", &[channels]);
        x = g.conv(&x, &kernel, Some(&bias), geometry).unwrap();
    }
    g.output("y", &x, &dims).unwrap();
    (g.finish(), table)
}

/// The same weights over memory that the caller can watch.
pub fn lent(table: &Table) -> (Table, Vec<Arc<Vec<f32>>>) {
    struct Lent(Arc<Vec<f32>>);
    impl AsRef<[u8]> for Lent {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    let mut memory = Vec::new();
    let lend = |(name, tensor): (&String, &Tensor)| {
        let values = Arc::new(tensor.as_f32().unwrap().into_owned());
        memory.push(Arc::clone(&values));
        let bytes = Bytes::from_owner(Lent(values));
        (name.clone(), Tensor::new(DType::F32, tensor.shape(), bytes).unwrap())
    };
    (Table(table.0.iter().map(lend).collect()), memory)
}
