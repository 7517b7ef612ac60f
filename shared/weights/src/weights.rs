use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use bytes::Bytes;
use cogwheel_tensor::{DType, Tensor};
use memmap2::Mmap;

use crate::{
    Digest, ExpectedTensor, Strictness, WeightsError, check, convert, digest,
    header::{self, Entry, Header},
    index::{self, Index},
    locate::{Location, locate},
};

/// The tensors of one part of a model, memory-mapped. Opening reads headers only; tensors share the map and keep it
/// alive.
#[derive(Debug)]
pub struct Weights {
    /// The single file, or the index of the shards.
    path: PathBuf,
    files: Vec<Bytes>,
    tensors: BTreeMap<String, Located>,
    metadata: BTreeMap<String, String>,
    digest: OnceLock<Digest>,
}

#[derive(Debug)]
struct Located {
    file: usize,
    entry: Entry,
}

/// One tensor as it lies on disk.
#[derive(Clone, Debug)]
pub struct TensorView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dtype on disk.
    pub dtype: DType,
    /// Its dimensions, outermost first.
    pub shape: &'a [usize],
    /// Its bytes, little-endian and row-major; a slice of the map that keeps the map alive.
    pub bytes: Bytes,
}

impl Weights {
    /// Opens `STEM.safetensors`, or the shards of `STEM.safetensors.index.json`, in a folder. diffusers' stem is
    /// `diffusion_pytorch_model`, transformers' is `model`; the names of the fp16 variant are taken where these are absent.
    ///
    /// # Errors
    /// A [`WeightsError`] that names file, tensor, expected and found.
    pub fn open(dir: &Path, stem: &str) -> Result<Self, WeightsError> {
        match locate(dir, stem)? {
            Location::Single(path) => Self::open_file(&path),
            Location::Sharded(path) => Self::open_shards(dir, path),
        }
    }

    /// The files that [`Self::open`] would map: the single file, or all shards. Reads no more than the index.
    ///
    /// # Errors
    /// As [`Self::open`], where a file or shard is missing or the index is malformed.
    pub fn locate(dir: &Path, stem: &str) -> Result<Vec<PathBuf>, WeightsError> {
        match locate(dir, stem)? {
            Location::Single(path) => Ok(vec![path]),
            Location::Sharded(path) => Index::read(&path)?.shard_paths(dir, &path),
        }
    }

    /// Opens one safetensors file of any name.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_file(path: &Path) -> Result<Self, WeightsError> {
        let file = map(path)?;
        let Header { tensors, metadata } = header::parse(path, &file)?;
        let located = |(name, entry)| (name, Located { file: 0, entry });
        let tensors = tensors.into_iter().map(located).collect();
        let path = path.to_path_buf();
        Ok(Self { path, files: vec![file], tensors, metadata, digest: OnceLock::new() })
    }

    fn open_shards(dir: &Path, path: PathBuf) -> Result<Self, WeightsError> {
        let index = Index::read(&path)?;
        let shards = index.shard_paths(dir, &path)?;
        let mut files = Vec::new();
        let mut tensors: BTreeMap<String, Located> = BTreeMap::new();
        for (file, shard) in shards.iter().enumerate() {
            let bytes = map(shard)?;
            for (tensor, entry) in header::parse(shard, &bytes)?.tensors {
                if let Some(other) = tensors.get(&tensor) {
                    let (first, second) = (shards[other.file].clone(), shard.clone());
                    return Err(WeightsError::Duplicate { tensor, first, second });
                }
                tensors.insert(tensor, Located { file, entry });
            }
            files.push(bytes);
        }
        for (tensor, shard) in &index.weight_map {
            let listed = dir.join(shard);
            if tensors.get(tensor).is_none_or(|found| shards[found.file] != listed) {
                let expected = format_args!("tensor '{tensor}' in {}", listed.display());
                return Err(index::malformed(&path, expected, "no such tensor there"));
            }
        }
        let metadata = BTreeMap::new();
        Ok(Self { path, files, tensors, metadata, digest: OnceLock::new() })
    }

    /// The single file, or the index of the shards.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The free texts in the header of a single file, its `__metadata__`; none of shards.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The files as they lie on disk, headers and all: one, or the shards in the order of their names.
    pub fn files(&self) -> &[Bytes] {
        &self.files
    }

    /// A tensor as it lies on disk.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let (name, located) = self.tensors.get_key_value(name)?;
        Some(self.view(name, located))
    }

    /// A tensor as it lies on disk, without copying it. Its bytes need not be aligned to its elements: files are
    /// written so, but nothing enforces it.
    ///
    /// # Errors
    /// [`WeightsError::NoTensor`].
    pub fn tensor(&self, name: &str) -> Result<Tensor, WeightsError> {
        let view = self.get(name).ok_or_else(|| self.no_tensor(name))?;
        Ok(convert::tensor(view.dtype, view.shape, view.bytes))
    }

    /// A tensor in a floating-point dtype, its bytes aligned to its elements. The map itself where dtype and alignment
    /// already fit, else a copy: converted through fp32 and rounded once, to nearest with ties to even; values beyond
    /// F16's range become infinite, as torch's do. Large tensors are converted in parallel.
    ///
    /// # Errors
    /// [`WeightsError::NoTensor`]; [`WeightsError::Conversion`] between integers and anything else.
    pub fn tensor_as(&self, name: &str, dtype: DType) -> Result<Tensor, WeightsError> {
        let view = self.get(name).ok_or_else(|| self.no_tensor(name))?;
        let found = view.dtype;
        convert::convert(view, dtype).ok_or_else(|| WeightsError::Conversion {
            tensor: name.to_owned(),
            expected: dtype,
            found,
        })
    }

    /// The tensors' names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        self.tensors.iter().map(|(name, located)| self.view(name, located))
    }

    /// Elements of all tensors together.
    pub fn total_parameters(&self) -> u64 {
        self.sizes().map(|(dtype, bytes)| bytes / dtype.size() as u64).sum()
    }

    /// Bytes of all tensors together.
    pub fn total_bytes(&self) -> u64 {
        self.sizes().map(|(_, bytes)| bytes).sum()
    }

    /// The dtype that most of the bytes are in.
    pub fn dtype(&self) -> DType {
        let mut totals: Vec<(DType, u64)> = Vec::new();
        for (dtype, bytes) in self.sizes() {
            match totals.iter_mut().find(|(known, _)| *known == dtype) {
                Some((_, total)) => *total += bytes,
                None => totals.push((dtype, bytes)),
            }
        }
        // A file without tensors is refused when it is opened, so there is always one.
        totals.into_iter().max_by_key(|(_, total)| *total).map_or(DType::F32, |(dtype, _)| dtype)
    }

    /// Checks that the tensors are those that a config calls for, all of floating-point dtypes.
    ///
    /// # Errors
    /// [`WeightsError::Mismatch`], which lists what is missing, of another shape or dtype, or not called for.
    pub fn check(
        &self,
        expected: &[ExpectedTensor],
        strictness: Strictness,
    ) -> Result<(), WeightsError> {
        check::check(self, expected, strictness).map_err(|mismatch| WeightsError::Mismatch {
            path: self.path.clone(),
            mismatch: Box::new(mismatch),
        })
    }

    /// blake3 over every tensor's name, dtype, shape and bytes, whatever files they stand in. Reads all weights, in
    /// parallel, the first time; later calls give the same answer at once.
    pub fn digest(&self) -> Digest {
        if let Some(digest) = self.digest.get() {
            return *digest;
        }
        // Not under the cell's lock: a task of the pool that waits for it could be the one that should do the work.
        let digest = digest::digest(self);
        *self.digest.get_or_init(|| digest)
    }

    fn view<'a>(&'a self, name: &'a str, Located { file, entry }: &'a Located) -> TensorView<'a> {
        let bytes = self.files[*file].slice(entry.range.clone());
        TensorView { name, dtype: entry.dtype, shape: &entry.shape, bytes }
    }

    fn sizes(&self) -> impl Iterator<Item = (DType, u64)> {
        self.tensors.values().map(|Located { entry, .. }| (entry.dtype, entry.range.len() as u64))
    }

    fn no_tensor(&self, name: &str) -> WeightsError {
        WeightsError::NoTensor { path: self.path.clone(), tensor: name.to_owned() }
    }
}

fn map(path: &Path) -> Result<Bytes, WeightsError> {
    let error = |source| WeightsError::Read { path: path.to_path_buf(), source };
    // Asked before opening: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(error)?.is_file() {
        return Err(error(io::Error::other("not a regular file")));
    }
    let file = File::open(path).map_err(error)?;
    // SAFETY: the map is read-only and shared as bytes, of which every pattern is valid; the file must not be cut short
    // or rewritten in place while it is open, which the crate's documentation asks of its users.
    let map = unsafe { Mmap::map(&file) }.map_err(error)?;
    Ok(Bytes::from_owner(map))
}
