use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;

use super::{Alpha, AlphaSource, Configs, Target, Warnings};
use crate::{
    AdapterError, Layout,
    config::quote,
    layout::{self, Part},
};

/// The tensors of each layer, by their parts.
pub(super) type Pairs<'a> = BTreeMap<String, BTreeMap<Part, &'a str>>;

/// Sorts a file's tensors by layer and part.
pub(super) fn pair<'a>(
    weights: &'a Weights,
    warnings: &mut Warnings,
) -> Result<(Layout, Pairs<'a>), AdapterError> {
    let path = || weights.path().to_path_buf();
    let mut pairs: Pairs<'a> = BTreeMap::new();
    let mut layouts: BTreeMap<Layout, usize> = BTreeMap::new();
    let (mut unmatched, mut of_text_encoders) = (Vec::new(), Vec::new());
    for name in weights.names() {
        let Some(key) = layout::parse(name) else {
            let list =
                if layout::is_text_encoder(name) { &mut of_text_encoders } else { &mut unmatched };
            list.push(name);
            continue;
        };
        *layouts.entry(key.layout).or_default() += 1;
        match pairs.entry(key.module).or_insert_with_key(|_| BTreeMap::new()).entry(key.part) {
            Entry::Vacant(vacant) => _ = vacant.insert(name),
            Entry::Occupied(first) => {
                return Err(AdapterError::Duplicate {
                    path: path(),
                    module: layout::parse(name).map_or_else(String::new, |key| key.module),
                    first: quote(first.get()),
                    second: quote(name),
                });
            }
        }
    }
    if let Some(example) = of_text_encoders.first() {
        let (count, example) = (of_text_encoders.len(), quote(example));
        return Err(AdapterError::TextEncoder { path: path(), count, example });
    }
    let most = layouts.iter().max_by_key(|(_, count)| **count).map(|(layout, _)| *layout);
    let Some(layout) = most.filter(|_| unmatched.is_empty()) else {
        let names = unmatched.into_iter().map(quote).collect();
        return Err(AdapterError::Unmatched {
            path: path(),
            present: weights.names().len(),
            names,
        });
    };
    if layouts.len() > 1 {
        let names: Vec<String> = layouts.keys().map(ToString::to_string).collect();
        warnings.others.push(format!(
            "its tensors are named in {} layouts: {}",
            names.len(),
            names.join(", ")
        ));
    }
    Ok((layout, pairs))
}

/// Makes the layers' pairs of the tensors, in the order of the layers' names.
pub(super) fn targets(
    weights: &Weights,
    pairs: Pairs<'_>,
    configs: &Configs<'_>,
    warnings: &mut Warnings,
) -> Result<Vec<Target>, AdapterError> {
    let mut odd = Odd::default();
    let targets = pairs
        .into_iter()
        .map(|(module, parts)| Layer { weights, module, parts }.target(configs, &mut odd))
        .collect::<Result<Vec<_>, _>>()?;
    odd.say(configs, &targets, warnings);
    Ok(targets)
}

/// What is odd about some layers; said once for all of them.
#[derive(Default)]
struct Odd {
    zero_alphas: usize,
    other_ranks: usize,
    other_alphas: usize,
}

impl Odd {
    fn say(&self, configs: &Configs<'_>, targets: &[Target], warnings: &mut Warnings) {
        let Warnings { of_alphas, others } = warnings;
        let say = |warnings: &mut Vec<String>, count: usize, what: &str| {
            if count > 0 {
                warnings.push(format!("{count} of {} layers: {what}", targets.len()));
            }
        };
        say(of_alphas, self.zero_alphas, "an alpha of 0, taken for none");
        say(others, self.other_ranks, "the config states another rank than the matrices have");
        let differ = "the config and the alpha tensor differ; the config is taken";
        say(of_alphas, self.other_alphas, differ);
        let sources: BTreeSet<_> = targets.iter().map(|target| target.alpha().source).collect();
        let assumed = targets.iter().filter(|target| target.alpha().source == AlphaSource::Rank);
        let scales: Vec<f64> = assumed.map(Target::ratio).collect();
        let span = span(&scales);
        let assumed = format!("no alpha is stated, taken to be the rank: a scale of {span}");
        say(of_alphas, scales.len(), &assumed);
        if sources.len() > 1 {
            say(of_alphas, targets.len(), "alphas from several places");
        }
        let plain = targets.iter().filter(|target| target.magnitude.is_none()).count();
        if configs.first(|config| config.use_dora.then_some(())).is_some() {
            let plain_lora =
                "the config states DoRA, but there is no magnitude: taken for plain LoRA";
            say(others, plain, plain_lora);
        }
    }
}

/// The least and the most of some numbers, to four decimals.
fn span(numbers: &[f64]) -> String {
    let of = |pick: fn(f64, f64) -> f64| {
        let picked = numbers.iter().copied().reduce(pick).unwrap_or_default();
        (picked * 1e4).round() / 1e4
    };
    match (of(f64::min), of(f64::max)) {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    }
}

struct Layer<'a> {
    weights: &'a Weights,
    module: String,
    parts: BTreeMap<Part, &'a str>,
}

impl Layer<'_> {
    fn target(self, configs: &Configs<'_>, odd: &mut Odd) -> Result<Target, AdapterError> {
        let (a, b) = match (self.float(Part::A)?, self.float(Part::B)?) {
            (Some(a), Some(b)) => (a, b),
            (Some(_), None) => return Err(self.incomplete("a pair of matrices", "lora_A alone")),
            (None, Some(_)) => return Err(self.incomplete("a pair of matrices", "lora_B alone")),
            (None, None) => {
                let names: Vec<&str> = self.parts.values().copied().collect();
                let found = format!("only {}", quote(names.join(", ")));
                return Err(self.incomplete("a pair of matrices", &found));
            }
        };
        let (rank, rows, b) = self.fit(&a, b)?;
        let tensor = self.alpha(odd)?;
        let alpha = Alpha::found(&self.module, rank, tensor, configs);
        let stated_rank = configs.first(|config| {
            config.rank_pattern.get(&self.module).or(config.r.map(|rank| rank as f64))
        });
        odd.other_ranks += usize::from(stated_rank.is_some_and(|stated| stated != rank as f64));
        odd.other_alphas += usize::from(tensor.is_some_and(|tensor| tensor != alpha.value));
        let bias = self.vector(Part::Bias, rows, &[&[rows]])?;
        let shapes: &[&[usize]] = if a.shape().len() == 2 {
            &[&[rows], &[rows, 1]]
        } else {
            &[&[rows], &[1, rows, 1, 1], &[rows, 1, 1, 1]]
        };
        let magnitude = self.vector(Part::Magnitude, rows, shapes)?;
        let use_rslora = configs.first(|config| Some(config.use_rslora)).unwrap_or(false);
        let mut target = Target::new(self.module, a, b, alpha);
        target.bias = bias;
        target.magnitude = magnitude;
        target.use_rslora = use_rslora;
        Ok(target)
    }

    /// The product's inner dimension and rows; B without a convolution's dimensions of 1.
    fn fit(&self, a: &Tensor, b: Tensor) -> Result<(usize, usize, Tensor), AdapterError> {
        let error = |part, expected: String, found: &[usize]| {
            let name = self.parts.get(&part).copied().unwrap_or_default();
            let found = format!("shape {}", quote(format!("{found:?}")));
            AdapterError::tensor(self.weights.path(), name, expected, found)
        };
        if ![2, 4].contains(&a.shape().len()) || a.is_empty() {
            let expected = "a matrix [rank, input] or a kernel [rank, input, height, width]";
            return Err(error(Part::A, expected.to_owned(), a.shape()));
        }
        let rank = a.shape()[0];
        let rows = match *b.shape() {
            [rows, inner] if inner == rank && rows > 0 => rows,
            [rows, inner, 1, 1] if inner == rank && rows > 0 && a.shape().len() == 4 => rows,
            _ => {
                let expected = format!("[output, {rank}], for the {rank} rows of its lora_A");
                return Err(error(Part::B, expected, b.shape()));
            }
        };
        let shape = b.shape().to_vec();
        let b =
            b.reshape([rows, rank]).map_err(|_| error(Part::B, "a matrix".to_owned(), &shape))?;
        Ok((rank, rows, b))
    }

    fn vector(
        &self,
        part: Part,
        rows: usize,
        shapes: &[&[usize]],
    ) -> Result<Option<Tensor>, AdapterError> {
        let Some(tensor) = self.float(part)? else { return Ok(None) };
        let found = tensor.shape().to_vec();
        let error = || {
            let name = self.parts.get(&part).copied().unwrap_or_default();
            let shapes: Vec<String> = shapes.iter().map(|shape| format!("{shape:?}")).collect();
            let expected = format!("shape {}", shapes.join(" or "));
            let found = format!("shape {}", quote(format!("{found:?}")));
            AdapterError::tensor(self.weights.path(), name, expected, found)
        };
        if !shapes.contains(&found.as_slice()) {
            return Err(error());
        }
        tensor.reshape([rows]).map(Some).map_err(|_| error())
    }

    /// A number of any dtype; zero counts as none, as kohya's own loader has it.
    fn alpha(&self, odd: &mut Odd) -> Result<Option<f64>, AdapterError> {
        let Some(&name) = self.parts.get(&Part::Alpha) else { return Ok(None) };
        let tensor = self.weights.tensor(name)?;
        let error = |found: String| {
            AdapterError::tensor(self.weights.path(), name, "one positive number", found)
        };
        if tensor.len() != 1 {
            return Err(error(format!("{} numbers", tensor.len())));
        }
        let value = match tensor.dtype() {
            DType::I64 => tensor.as_i64().ok().and_then(|values| Some(*values.first()? as f64)),
            DType::I32 => {
                tensor.bytes().first_chunk().map(|bytes| i32::from_le_bytes(*bytes).into())
            }
            DType::F32 | DType::F16 | DType::BF16 => {
                let value = self.weights.tensor_as(name, DType::F32)?;
                value.as_f32().ok().and_then(|values| Some(f64::from(*values.first()?)))
            }
            DType::U8 | DType::I8 => None,
        };
        match value {
            Some(0.0) => {
                odd.zero_alphas += 1;
                Ok(None)
            }
            Some(value) if value.is_finite() && value > 0.0 => Ok(Some(value)),
            Some(value) => Err(error(value.to_string())),
            None => Err(error(format!("one of {}", tensor.dtype()))),
        }
    }

    fn float(&self, part: Part) -> Result<Option<Tensor>, AdapterError> {
        let Some(&name) = self.parts.get(&part) else { return Ok(None) };
        let tensor = self.weights.tensor(name)?;
        match tensor.dtype() {
            DType::F32 | DType::F16 | DType::BF16 => Ok(Some(tensor)),
            other => Err(AdapterError::DType {
                path: self.weights.path().to_path_buf(),
                tensor: quote(name),
                found: other.name().to_owned(),
            }),
        }
    }

    fn incomplete(&self, expected: &'static str, found: &str) -> AdapterError {
        let (path, module) = (self.weights.path().to_path_buf(), self.module.clone());
        AdapterError::Incomplete { path, module, expected, found: found.to_owned() }
    }
}
