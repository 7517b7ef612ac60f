use std::{collections::BTreeSet, fmt};

use cogwheel_tensor::DType;

use crate::Weights;

/// Names shown of each kind of difference; the rest is counted.
const SHOWN: usize = 3;

/// A tensor that a config calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedTensor {
    /// Its name, as diffusers or transformers saves it.
    pub name: String,
    /// Its dimensions, outermost first.
    pub shape: Vec<usize>,
}

impl ExpectedTensor {
    /// A tensor of that name and shape.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), shape: shape.into() }
    }
}

/// What to do about tensors that a config does not call for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Refuse them.
    Exact,
    /// Let them be.
    AllowExtra,
}

/// How a file's tensors differ from those called for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Tensors called for.
    pub expected: usize,
    /// Tensors there.
    pub found: usize,
    /// Names called for and not there.
    pub missing: Vec<String>,
    /// Tensors of another shape: name, expected, found.
    pub shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Tensors whose dtype is not a floating-point one.
    pub dtypes: Vec<(String, DType)>,
    /// Names there and not called for.
    pub unexpected: Vec<String>,
}

pub(crate) fn check(
    weights: &Weights,
    expected: &[ExpectedTensor],
    strictness: Strictness,
) -> Result<(), Mismatch> {
    let mut mismatch = Mismatch {
        expected: expected.len(),
        found: weights.names().len(),
        missing: Vec::new(),
        shapes: Vec::new(),
        dtypes: Vec::new(),
        unexpected: Vec::new(),
    };
    for tensor in expected {
        let Some(found) = weights.get(&tensor.name) else {
            mismatch.missing.push(tensor.name.clone());
            continue;
        };
        if found.shape != tensor.shape {
            let shapes = (tensor.name.clone(), tensor.shape.clone(), found.shape.to_vec());
            mismatch.shapes.push(shapes);
        }
        if !matches!(found.dtype, DType::F32 | DType::F16 | DType::BF16) {
            mismatch.dtypes.push((tensor.name.clone(), found.dtype));
        }
    }
    if strictness == Strictness::Exact {
        let allowed: BTreeSet<&str> = expected.iter().map(|t| t.name.as_str()).collect();
        mismatch.unexpected =
            weights.names().filter(|name| !allowed.contains(name)).map(str::to_owned).collect();
    }
    if mismatch.is_empty() { Ok(()) } else { Err(mismatch) }
}

impl Mismatch {
    fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.shapes.is_empty()
            && self.dtypes.is_empty()
            && self.unexpected.is_empty()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.missing.len() == self.expected {
            let (expected, found) = (self.expected, self.found);
            write!(
                f,
                "none of the {expected} tensors that the config calls for are among the {found} here"
            )?;
        }
        let quoted = |names: &[String]| names.iter().map(|name| format!("'{name}'")).collect();
        let mut list = List { f, first: self.missing.len() != self.expected };
        list.part("missing", quoted(&self.missing))?;
        let shapes = self.shapes.iter().map(|(name, expected, found)| {
            format!("'{name}': expected shape {expected:?}, found {found:?}")
        });
        list.part("of another shape", shapes.collect())?;
        let dtypes = self
            .dtypes
            .iter()
            .map(|(name, found)| format!("'{name}': expected F32, F16 or BF16, found {found}"));
        list.part("of another dtype", dtypes.collect())?;
        list.part("not called for", quoted(&self.unexpected))
    }
}

struct List<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    first: bool,
}

impl List<'_, '_> {
    fn part(&mut self, what: &str, items: Vec<String>) -> fmt::Result {
        if items.is_empty() {
            return Ok(());
        }
        if !std::mem::take(&mut self.first) {
            self.f.write_str("; ")?;
        }
        let plural = if items.len() == 1 { "tensor" } else { "tensors" };
        write!(
            self.f,
            "{} {plural} {what}: {}",
            items.len(),
            items[..items.len().min(SHOWN)].join(", ")
        )?;
        if items.len() > SHOWN {
            write!(self.f, " and {} more", items.len() - SHOWN)?;
        }
        Ok(())
    }
}
