#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;

use cogwheel_engine::{CancellationToken, Runtime, SessionOptions, WeightSource};
use cogwheel_graph::WeightSlot;
use cogwheel_lora::Adapter;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;

use super::*;
use crate::transformer::Transformer;

/// Of two fp32 sums of the same numbers in another order.
const RELATIVE_ERROR: f64 = 1e-6;
/// Of linear layers in bytes: measured 1.3e-3 to 1.6e-3.
const IN_BYTES: f64 = 5e-3;

fn data(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")).join(path)
}

fn checkpoint() -> Checkpoint {
    Checkpoint::open(&data("checkpoints/sincos")).unwrap()
}

fn options(matrix_unit: bool) -> SessionOptions {
    let threads = Some(1);
    SessionOptions {
        threads,
        prepack: false,
        matrix_unit,
        variants: true,
        ..SessionOptions::default()
    }
}

fn variants_with(settings: VariantSettings, storage: Storage, matrix_unit: bool) -> Arc<Variants> {
    let checkpoint = checkpoint().stored_in(storage);
    let maker =
        Transformer::variant_maker(&checkpoint.transformer, &options(matrix_unit), DType::F32)
            .unwrap();
    Arc::new(Variants::new(&checkpoint, maker, settings).unwrap())
}

fn variants(byte_budget: u64, cache: Option<&Path>) -> Arc<Variants> {
    let cache = cache.map(|folder| (folder.to_path_buf(), u64::MAX));
    let settings = VariantSettings { byte_budget, memory: None, cache, max_passed: 8, threads: 2 };
    variants_with(settings, Storage::Fp32, true)
}

fn recipe(adapters: &[(&str, f32)]) -> Recipe {
    let open = |(name, scale): &(&str, f32)| {
        let path = data("adapters").join(format!("{name}.safetensors"));
        (Arc::new(Adapter::open(&path, None).unwrap()), *scale)
    };
    Recipe::new(adapters.iter().map(open).collect()).unwrap()
}

fn wanted(adapters: &[(&str, f32)]) -> Wanted {
    Wanted { recipe: recipe(adapters), pinned: None, alone: true }
}

/// A lease, and whether anything was merged for it.
async fn lease(variants: &Arc<Variants>, adapters: &[(&str, f32)]) -> (Lease, bool) {
    let (progress, watched) = watch::channel(Merging::default());
    let lease = variants.lease(wanted(adapters), progress).await.unwrap();
    let merging = *watched.borrow();
    assert_eq!(merging.tensors, merging.num_tensors);
    (lease, merging.num_tensors > 0)
}

/// What was merged is in the cache when the merge's place is free.
async fn written(variants: &Variants) {
    drop(variants.merging.acquire().await.unwrap());
}

/// Leases from a process of its own, as it were, with a cache.
async fn lease_cached(folder: &Path, adapters: &[(&str, f32)]) -> (Lease, bool) {
    let variants = variants(u64::MAX, Some(folder));
    let leased = lease(&variants, adapters).await;
    written(&variants).await;
    leased
}

fn predict(model: &mut Transformer, variant: Option<Variant>) -> Vec<f32> {
    let config = model.config().clone();
    let count = config.max_text_seq_length * config.text_embed_dim;
    let text = (0..count).map(|i| (i % 13) as f32 / 13.0 - 0.4).collect();
    let text = Tensor::from_f32([1, config.max_text_seq_length, config.text_embed_dim], text);
    let shape = [3, config.in_channels, 6, 8];
    let latents: Vec<f32> =
        (0..shape.iter().product::<usize>()).map(|i| (i % 29) as f32 / 14.0 - 1.0).collect();
    let conditions = model.conditions(shape, text.unwrap()).unwrap().of_variant(variant);
    let output = model.forward(&conditions, &latents, 500, &CancellationToken::new()).unwrap();
    output.as_f32().unwrap().into_owned()
}

fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let difference: f64 =
        found.iter().zip(expected).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    (difference / expected.iter().map(|&b| square(f64::from(b))).sum::<f64>()).sqrt()
}

/// The checkpoint with the tensors that PEFT merged for a case.
struct MergedByPeft {
    base: Weights,
    merged: Weights,
    case: &'static str,
}

impl WeightSource for MergedByPeft {
    fn weight(
        &self,
        slot: &WeightSlot,
    ) -> Result<Tensor, Box<dyn std::error::Error + Send + Sync>> {
        let merged = format!("{}/{}", self.case, slot.name);
        match self.merged.get(&merged) {
            Some(_) => Ok(self.merged.tensor_as(&merged, slot.dtype)?),
            None => Ok(self.base.tensor_as(&slot.name, slot.dtype)?),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_predicts_what_the_model_that_peft_merged_does() {
    let checkpoint = checkpoint();
    let runtime = Runtime::load().unwrap();
    let cases: [(&str, &[(&str, f32)]); 4] = [
        ("one", &[("attention", 0.7)]),
        ("several", &[("mixed", 0.7), ("rslora", -0.4), ("ranks", 1.0)]),
        ("doras", &[("dora", 0.7), ("ranks", -0.4), ("decomposed", 1.3)]),
        ("doras_in_another_order", &[("decomposed", 1.3), ("ranks", -0.4), ("dora", 0.7)]),
    ];
    for matrix_unit in [true, false] {
        let options = options(matrix_unit);
        let config = &checkpoint.transformer;
        let weights = checkpoint.weights_transformer().unwrap();
        let mut model = Transformer::load(&runtime, config, &weights, &options).unwrap();
        let base = predict(&mut model, None);
        let variants = variants_with(settings(u64::MAX), Storage::Fp32, matrix_unit);
        for (case, adapters) in cases {
            let (lease, merged) = lease(&variants, adapters).await;
            assert!(merged);
            let found = predict(&mut model, Some(lease.variant.clone()));
            let merged = MergedByPeft {
                base: checkpoint.weights_transformer().unwrap(),
                merged: Weights::open_file(&data("adapters/merged.safetensors")).unwrap(),
                case,
            };
            let mut merged = Transformer::load(&runtime, config, &merged, &options).unwrap();
            let error = relative_error(&found, &predict(&mut merged, None));
            println!("{case}: {error:.1e}");
            assert!(error <= RELATIVE_ERROR, "{case}: {error:.1e}");
            assert!(relative_error(&found, &base) > 1e-3, "{case} changes nothing");
            assert_eq!(predict(&mut model, None), base, "the base is as it was");
        }
    }
}

#[tokio::test]
async fn a_variant_in_memory_is_not_merged_again_whatever_the_order_of_plain_adapters() {
    let variants = variants(u64::MAX, None);
    let (first, merged) = lease(&variants, &[("attention", 0.7), ("ranks", -0.4)]).await;
    assert!(merged);
    let (second, merged) = lease(&variants, &[("ranks", -0.4), ("attention", 0.7)]).await;
    assert!(!merged);
    assert_eq!(first.id, second.id);
    drop((first, second));
    let (other, merged) = lease(&variants, &[("ranks", -0.5), ("attention", 0.7)]).await;
    assert!(merged);
    assert_eq!(variants.resident_bytes(), 2 * other.variant.byte_length() as u64);
}

#[tokio::test]
async fn past_the_budget_the_one_not_used_the_longest_goes() {
    let size = {
        let variants = variants(u64::MAX, None);
        lease(&variants, &[("attention", 1.0)]).await.0.variant.byte_length() as u64
    };
    let variants = variants(2 * size, None);
    for (scale, expected) in
        [(1.0, true), (2.0, true), (1.0, false), (3.0, true), (1.0, false), (2.0, true)]
    {
        let (_, merged) = lease(&variants, &[("attention", scale)]).await;
        assert_eq!(merged, expected, "{scale}");
        assert!(variants.resident_bytes() <= 2 * size);
    }
}

#[tokio::test]
async fn without_a_budget_a_variant_goes_with_its_lease() {
    let variants = variants(0, None);
    let (first, merged) = lease(&variants, &[("attention", 1.0)]).await;
    assert_eq!((variants.resident_bytes(), merged), (0, true));
    assert!(first.variant.byte_length() > 0);
    let (second, merged) = lease(&variants, &[("attention", 1.0)]).await;
    assert!(!merged, "who holds one shares it");
    drop((first, second));
    let (_, merged) = lease(&variants, &[("attention", 1.0)]).await;
    assert!(merged);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_want_at_once_is_merged_once() {
    let variants = variants(u64::MAX, None);
    let wanted = [("mixed", 0.5)];
    let (first, second) = tokio::join!(lease(&variants, &wanted), lease(&variants, &wanted));
    assert_eq!([first.1, second.1].iter().filter(|merged| **merged).count(), 1);
    assert_eq!(first.0.id, second.0.id);
}

#[tokio::test]
async fn no_more_than_two_hold_a_variant_and_a_dropped_wait_gives_its_place_up() {
    let variants = variants(u64::MAX, None);
    let (first, _) = lease(&variants, &[("attention", 1.0)]).await;
    let (_second, _) = lease(&variants, &[("attention", 2.0)]).await;
    let (progress, _) = watch::channel(Merging::default());
    let mut third = Box::pin(variants.lease(wanted(&[("attention", 3.0)]), progress));
    assert!(poll(third.as_mut()).is_none());
    drop(third);
    drop(first);
    lease(&variants, &[("attention", 4.0)]).await;
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn merged_weights_are_rounded_once_to_the_precision() {
    let full = variants_with(settings(u64::MAX), Storage::Fp32, true);
    let short = variants_with(settings(u64::MAX), Storage::Bf16, true);
    let (full, _) = lease(&full, &[("attention", 0.7)]).await;
    let (short, _) = lease(&short, &[("attention", 0.7)]).await;
    assert_eq!(full.id, short.id, "the precision is no part of the identity");
    assert!(short.variant.byte_length() <= full.variant.byte_length());
}

fn settings(byte_budget: u64) -> VariantSettings {
    VariantSettings { byte_budget, memory: None, cache: None, max_passed: 8, threads: 1 }
}

/// What preparing a variant came to, and whether anything was merged for it.
async fn prepare(
    variants: &Variants,
    adapters: &[(&str, f32)],
    (pinned, alone): (Option<bool>, bool),
    bytes: u64,
) -> (Result<Prepared, VariantError>, bool) {
    let (progress, watched) = watch::channel(Merging::default());
    let wanted = Wanted { pinned, alone, ..wanted(adapters) };
    let prepared = variants.prepare(wanted, bytes, progress).await;
    let merged = watched.borrow().num_tensors > 0;
    (prepared, merged)
}

#[tokio::test]
async fn a_variant_is_made_ahead_where_there_is_room_or_nothing_else_runs() {
    let size = {
        let variants = variants(u64::MAX, None);
        lease(&variants, &[("attention", 1.0)]).await.0.variant.byte_length() as u64
    };
    let variants = variants_with(settings(2 * size), Storage::Fp32, true);
    let made = |scale: f32, alone: bool| {
        let variants = Arc::clone(&variants);
        async move {
            let ahead = [("attention", scale)];
            let (prepared, merged) = prepare(&variants, &ahead, (None, alone), size).await;
            assert_eq!(prepared.unwrap().byte_length > 0, merged);
            merged
        }
    };
    assert!(made(1.0, false).await, "there is room");
    assert!(made(2.0, false).await, "there is room");
    assert!(!made(3.0, false).await, "what others made is not given up");
    assert!(!lease(&variants, &[("attention", 1.0)]).await.1);
    assert!(made(3.0, true).await, "nobody else is here");
    assert!(!lease(&variants, &[("attention", 3.0)]).await.1);
    let (again, merged) = prepare(&variants, &[("attention", 3.0)], (None, false), size).await;
    assert_eq!((again.unwrap().byte_length, merged), (size, false), "it is there");
}

#[tokio::test]
async fn pinned_variants_are_made_and_stay_until_somebody_takes_that_back() {
    let size = {
        let variants = variants(u64::MAX, None);
        lease(&variants, &[("attention", 1.0)]).await.0.variant.byte_length() as u64
    };
    let variants = variants_with(settings(2 * size), Storage::Fp32, true);
    for scale in [1.0, 2.0] {
        let (prepared, merged) =
            prepare(&variants, &[("attention", scale)], (Some(true), false), size).await;
        assert_eq!((prepared.unwrap().byte_length, merged), (size, true));
    }
    let (refused, _) = prepare(&variants, &[("attention", 3.0)], (Some(true), true), size).await;
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("--variant-memory"), "{message}");
    assert!(lease(&variants, &[("attention", 3.0)]).await.1);
    assert!(lease(&variants, &[("attention", 3.0)]).await.1, "there is no place to keep it");
    // A lease leaves it as it is; only who says so takes it back.
    assert!(!lease(&variants, &[("attention", 1.0)]).await.1);
    assert!(lease(&variants, &[("attention", 3.0)]).await.1);
    for (scale, byte_length) in [(1.0, size), (4.0, 0)] {
        let adapters = [("attention", scale)];
        let (back, merged) = prepare(&variants, &adapters, (Some(false), true), size).await;
        assert_eq!((back.unwrap().byte_length, merged), (byte_length, false), "nothing is made");
    }
    assert!(lease(&variants, &[("attention", 3.0)]).await.1);
    assert!(!lease(&variants, &[("attention", 3.0)]).await.1);
    assert!(!lease(&variants, &[("attention", 2.0)]).await.1, "the other is still pinned");
}

/// Each saw room before the others had taken it.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_are_made_ahead_at_once_none_pushes_another_out() {
    let size = {
        let variants = variants(u64::MAX, None);
        lease(&variants, &[("attention", 1.0)]).await.0.variant.byte_length() as u64
    };
    let variants = variants_with(settings(2 * size), Storage::Fp32, true);
    let ahead = |scale: f32| {
        let variants = Arc::clone(&variants);
        tokio::spawn(async move {
            let adapters = [("attention", scale)];
            let (prepared, merged) = prepare(&variants, &adapters, (None, false), size).await;
            assert_eq!(prepared.unwrap().byte_length > 0, merged);
            (scale, merged)
        })
    };
    let all: Vec<_> = [1.0, 2.0, 3.0, 4.0, 5.0].map(ahead).into();
    let mut made = Vec::new();
    for one in all {
        let (scale, merged) = one.await.unwrap();
        made.extend(merged.then_some(scale));
    }
    assert_eq!(made.len(), 2);
    for scale in made {
        assert!(!lease(&variants, &[("attention", scale)]).await.1, "{scale} is there");
    }
}

#[tokio::test]
async fn a_running_request_has_its_own_variant_kept_and_counts_it_once() {
    let size = {
        let variants = variants(u64::MAX, None);
        lease(&variants, &[("attention", 1.0)]).await.0.variant.byte_length() as u64
    };
    // Two variants and as much as one for what is computed.
    let settings = VariantSettings { memory: Some(3 * size), ..settings(u64::MAX) };
    let variants = variants_with(settings, Storage::Fp32, true);
    lease(&variants, &[("attention", 1.0)]).await;
    let (own, _) = lease(&variants, &[("attention", 2.0)]).await;
    let running = variants.run(size, Some(&own));
    assert_eq!(variants.resident_bytes(), 2 * size, "everything has its place");
    drop(running);
    let running = variants.run(2 * size, Some(&own));
    assert_eq!(variants.resident_bytes(), size);
    assert!(!lease(&variants, &[("attention", 2.0)]).await.1, "its own is left");
    drop((running, own));
    lease(&variants, &[("attention", 3.0)]).await;
    assert_eq!(variants.resident_bytes(), 2 * size, "what ended needs nothing any more");
}

#[tokio::test]
async fn the_base_is_digested_to_its_end_whoever_leaves_meanwhile() {
    let variants = variants(u64::MAX, None);
    let mut first = Box::pin(variants.base.open());
    assert!(poll(first.as_mut()).is_none());
    drop(first);
    let start = std::time::Instant::now();
    while !variants.base.is_open() {
        assert!(start.elapsed().as_secs() < 60, "nobody digests it any more");
        tokio::task::yield_now().await;
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_restart_reads_what_was_merged_before() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = [("mixed", 0.7)];
    let (first, merged) = lease_cached(folder.path(), &wanted).await;
    assert!(merged);
    assert_eq!(files(folder.path()).len(), 1);
    let (second, merged) = lease_cached(folder.path(), &wanted).await;
    assert!(!merged);
    assert_eq!(first.id, second.id);
    let mut model = {
        let (checkpoint, runtime) = (checkpoint(), Runtime::load().unwrap());
        let weights = checkpoint.weights_transformer().unwrap();
        Transformer::load(&runtime, &checkpoint.transformer, &weights, &options(true)).unwrap()
    };
    let [first, second] = [first, second].map(|lease| predict(&mut model, Some(lease.variant)));
    assert_eq!(first, second);
}

/// The checkpoint with the tensors of a file of the cache.
struct Merged(Weights, Weights);

impl WeightSource for Merged {
    fn weight(
        &self,
        slot: &WeightSlot,
    ) -> Result<Tensor, Box<dyn std::error::Error + Send + Sync>> {
        let Self(base, merged) = self;
        let of = if merged.get(&slot.name).is_some() { merged } else { base };
        Ok(of.tensor_as(&slot.name, slot.dtype)?)
    }
}

/// Neither is the base's quantization merged into, nor is a variant's kept on the disk.
#[tokio::test]
async fn a_variant_in_bytes_is_to_the_bit_the_model_of_its_merged_weights_in_bytes() {
    let (checkpoint, runtime) = (checkpoint(), Runtime::load().unwrap());
    let config = &checkpoint.transformer;
    let quantize: Option<fn(&str) -> bool> = Some(cogwheel_models::transformer::is_quantized);
    let options = SessionOptions { quantize, ..options(true) };
    let weights = || checkpoint.weights_transformer().unwrap();
    let mut model = Transformer::load(&runtime, config, &weights(), &options).unwrap();
    let base = predict(&mut model, None);
    let cases: [&[(&str, f32)]; 3] = [
        &[("attention", 0.7)],
        &[("mixed", 0.7), ("rslora", -0.4), ("ranks", 1.0)],
        &[("dora", 0.7), ("decomposed", 1.3)],
    ];
    for adapters in cases {
        let folder = tempfile::tempdir().unwrap();
        let variants = || {
            let maker = Transformer::variant_maker(config, &options, DType::F32).unwrap();
            let cache = Some((folder.path().to_path_buf(), u64::MAX));
            let settings = VariantSettings { cache, ..settings(u64::MAX) };
            Arc::new(Variants::new(&checkpoint, maker, settings).unwrap())
        };
        let first = variants();
        let (made, merged) = lease(&first, adapters).await;
        assert!(merged, "{adapters:?}");
        written(&first).await;
        let found = predict(&mut model, Some(made.variant));
        let (read, merged) = lease(&variants(), adapters).await;
        assert!(!merged, "{adapters:?}");
        assert!(found == predict(&mut model, Some(read.variant)), "{adapters:?}, from the disk");

        let [path] = &files(folder.path())[..] else { panic!("expected one file") };
        let merged = Merged(weights(), Weights::open_file(path).unwrap());
        let predicted = |quantize| {
            let options = SessionOptions { quantize, variants: false, ..options.clone() };
            predict(&mut Transformer::load(&runtime, config, &merged, &options).unwrap(), None)
        };
        assert!(found == predicted(quantize), "{adapters:?}");
        let error = relative_error(&found, &predicted(None));
        println!("{adapters:?}: {error:.1e} from fp32");
        assert!(1e-4 < error && error < IN_BYTES, "{adapters:?}: {error:.1e}");
        assert!(relative_error(&found, &base) > error, "{adapters:?} change nothing");
        assert!(predict(&mut model, None) == base, "the base is as it was");
    }
}

#[tokio::test]
async fn a_file_that_was_altered_or_cut_is_not_used_and_made_again() {
    let wanted = [("attention", 0.7)];
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |path| {
            let mut bytes = std::fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
        |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
        |path| std::fs::write(path, b"").unwrap(),
        |path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let (start, digest) = name.split_once("-F32-").unwrap();
            let first = if digest.starts_with('0') { '1' } else { '0' };
            let name = format!("{start}-F32-{first}{}", &digest[1..]);
            std::fs::rename(path, path.with_file_name(name)).unwrap();
        },
    ];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        lease_cached(folder.path(), &wanted).await;
        let [path] = &files(folder.path())[..] else { panic!("expected one file") };
        let sound = std::fs::read(path).unwrap();
        damage(path);
        let (_, merged) = lease_cached(folder.path(), &wanted).await;
        assert!(merged, "what was damaged is served");
        let [path] = &files(folder.path())[..] else { panic!("expected one file") };
        assert_eq!(std::fs::read(path).unwrap(), sound);
    }
}

#[tokio::test]
async fn what_a_killed_writer_left_is_not_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join(".cogwheel-partial-abc");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join(".tmpabc"), b"half").unwrap();
    let wanted = [("attention", 0.7)];
    lease_cached(folder.path(), &wanted).await;
    assert!(!lease_cached(folder.path(), &wanted).await.1);
}

#[tokio::test]
async fn the_cache_keeps_to_its_limit_and_leaves_what_is_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    std::fs::write(&model, b"somebody's").unwrap();
    let own = || files(folder.path()).into_iter().filter(|path| *path != model).count();
    let cache = Some((folder.path().to_path_buf(), 1));
    let settings =
        VariantSettings { byte_budget: u64::MAX, memory: None, cache, max_passed: 8, threads: 1 };
    let variants = variants_with(settings, Storage::Fp32, true);
    for scale in [1.0, 2.0, 3.0] {
        lease(&variants, &[("attention", scale)]).await;
        written(&variants).await;
        assert_eq!(own(), 1, "only the newest");
    }
    assert!(model.exists());
}

#[tokio::test]
async fn a_cache_that_is_no_folder_is_told_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let cache = Some((file.path().to_path_buf(), 1));
    let settings =
        VariantSettings { byte_budget: 0, memory: None, cache, max_passed: 8, threads: 1 };
    let checkpoint = checkpoint();
    let maker =
        Transformer::variant_maker(&checkpoint.transformer, &options(true), DType::F32).unwrap();
    let error = Variants::new(&checkpoint, maker, settings).unwrap_err();
    assert!(error.to_string().starts_with("--variant-cache "), "{error}");
}

#[tokio::test]
async fn scales_that_make_no_numbers_are_refused() {
    let variants = variants_with(settings(0), Storage::Fp16, true);
    let (progress, _) = watch::channel(Merging::default());
    let error = variants.lease(wanted(&[("attention", 1e12)]), progress).await;
    assert!(matches!(error, Err(VariantError::Merge(cogwheel_lora::MergeError::NotFinite { .. }))));
}
