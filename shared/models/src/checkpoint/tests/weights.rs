use std::collections::BTreeMap;

use cogwheel_weights::ExpectedTensor;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;

use super::*;
use crate::{checkpoint::Checkpoint, names};

/// The 5B model scaled down: every kind of tensor, a few KB.
fn small() -> Value {
    let mut model = published()["CogVideoX-5b"].clone();
    for (part, key, value) in [
        ("transformer", "num_attention_heads", json!(2)),
        ("transformer", "attention_head_dim", json!(16)),
        ("transformer", "num_layers", json!(3)),
        ("transformer", "time_embed_dim", json!(8)),
        ("transformer", "text_embed_dim", json!(16)),
        ("transformer", "in_channels", json!(4)),
        ("transformer", "out_channels", json!(4)),
        ("vae", "block_out_channels", json!([4, 8, 8, 16])),
        ("vae", "norm_num_groups", json!(2)),
        ("vae", "latent_channels", json!(4)),
        ("text_encoder", "d_model", json!(16)),
        ("text_encoder", "d_kv", json!(8)),
        ("text_encoder", "d_ff", json!(32)),
        ("text_encoder", "num_layers", json!(2)),
        ("text_encoder", "num_heads", json!(2)),
        ("text_encoder", "vocab_size", json!(64)),
    ] {
        model["configs"][part][key] = value;
    }
    model
}

fn folder() -> (tempfile::TempDir, Checkpoint) {
    let dir = tempfile::tempdir().unwrap();
    write_folder(dir.path(), &small());
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    (dir, checkpoint)
}

/// Writes bf16 tensors of zeros.
fn write_tensors(path: &Path, tensors: &[ExpectedTensor]) {
    let largest = tensors.iter().map(names::elements).max().unwrap();
    let zeros = vec![0; largest as usize * 2];
    let views = tensors.iter().map(|tensor| {
        let bytes = &zeros[..names::elements(tensor) as usize * 2];
        (&tensor.name, TensorView::new(Dtype::BF16, tensor.shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// Writes the tensors in shards as diffusers and transformers do, in place of the single file.
fn write_shards(dir: &Path, stem: &str, tensors: &[ExpectedTensor], count: usize) {
    let mut weight_map = BTreeMap::new();
    for (i, tensors) in tensors.chunks(tensors.len().div_ceil(count)).enumerate() {
        let shard = format!("{stem}-{:05}-of-{count:05}.safetensors", i + 1);
        write_tensors(&dir.join(&shard), tensors);
        weight_map.extend(tensors.iter().map(|tensor| (tensor.name.clone(), shard.clone())));
    }
    fs::remove_file(dir.join(format!("{stem}.safetensors"))).unwrap();
    let index = json!({"metadata": {"total_size": 0}, "weight_map": weight_map});
    write(dir, &format!("{stem}.safetensors.index.json"), &index);
}

#[test]
fn sharded_weights_of_every_part_are_those_that_the_configs_call_for() {
    let (dir, checkpoint) = folder();
    let transformer = names::transformer(&checkpoint.transformer);
    write_shards(&dir.path().join("transformer"), "diffusion_pytorch_model", &transformer, 3);
    let text_encoder = names::text_encoder(&checkpoint.text_encoder);
    write_shards(&dir.path().join("text_encoder"), "model", &text_encoder, 2);
    let vae = names::vae(&checkpoint.vae);
    write_tensors(&dir.path().join("vae/diffusion_pytorch_model.safetensors"), &vae);

    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let counts = checkpoint.parameter_count();
    let found = checkpoint.weights_transformer().unwrap();
    assert_eq!(found.total_parameters(), counts.transformer);
    assert_eq!(checkpoint.weights_text_encoder().unwrap().total_parameters(), counts.text_encoder);
    assert_eq!(checkpoint.weights_vae().unwrap().total_parameters(), counts.vae);
}

#[test]
fn weights_of_another_model_name_what_differs() {
    let (dir, checkpoint) = folder();
    let path = dir.path().join("transformer/diffusion_pytorch_model.safetensors");
    let mut tensors = names::transformer(&checkpoint.transformer);
    let error = |tensors: &[ExpectedTensor]| {
        write_tensors(&path, tensors);
        relative(checkpoint.weights_transformer().unwrap_err(), dir.path())
    };
    tensors.retain(|tensor| tensor.name != "transformer_blocks.2.attn1.to_out.0.bias");
    for tensor in &mut tensors {
        if tensor.name == "proj_out.weight" {
            tensor.shape = vec![32, 16];
        }
    }
    tensors.push(ExpectedTensor::new("ofs_embedding.linear_1.bias", [8]));
    assert_eq!(
        error(&tensors),
        "transformer/diffusion_pytorch_model.safetensors: 1 tensor missing: \
         'transformer_blocks.2.attn1.to_out.0.bias'; 1 tensor of another shape: 'proj_out.weight': expected shape \
         [16, 32], found [32, 16]; 1 tensor not called for: 'ofs_embedding.linear_1.bias'"
    );
    let vae = names::vae(&checkpoint.vae);
    let found = error(&vae);
    assert!(
        found.contains("none of the 88 tensors that the config calls for are among the"),
        "{found}"
    );
}

#[test]
fn a_truncated_weight_file_names_the_tensor_that_is_cut() {
    let (dir, checkpoint) = folder();
    let path = dir.path().join("vae/diffusion_pytorch_model.safetensors");
    write_tensors(&path, &names::vae(&checkpoint.vae));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 100]).unwrap();
    let error = relative(checkpoint.weights_vae().unwrap_err(), dir.path());
    assert!(error.starts_with("vae/diffusion_pytorch_model.safetensors: tensor '"), "{error}");
    assert!(error.contains("found a file cut short at"), "{error}");
}

#[test]
fn the_token_embedding_goes_by_either_of_its_names() {
    let (dir, checkpoint) = folder();
    let path = dir.path().join("text_encoder/model.safetensors");
    let mut tensors = names::text_encoder(&checkpoint.text_encoder);
    write_tensors(&path, &tensors);
    let name = || checkpoint.weights_text_encoder().map(|weights| names::embedding_name(&weights));
    assert_eq!(name().unwrap(), "shared.weight");
    let shared = tensors.iter().position(|tensor| tensor.name == "shared.weight").unwrap();
    tensors[shared].name = names::TIED_EMBEDDING.to_owned();
    write_tensors(&path, &tensors);
    assert_eq!(name().unwrap(), "encoder.embed_tokens.weight");
    tensors.push(ExpectedTensor::new("shared.weight", [64, 16]));
    write_tensors(&path, &tensors);
    assert_eq!(name().unwrap(), "shared.weight");
    let mut bytes = fs::read(&path).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let end = 8 + header + metadata.info("shared.weight").unwrap().data_offsets.1;
    bytes[end - 1] = 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(
        relative(name().unwrap_err(), dir.path()),
        "text_encoder/model.safetensors: expected 'shared.weight' and 'encoder.embed_tokens.weight' to be one, found \
         them to differ"
    );
    tensors.retain(|tensor| !["shared.weight", names::TIED_EMBEDDING].contains(&&*tensor.name));
    write_tensors(&path, &tensors);
    let error = relative(name().unwrap_err(), dir.path());
    assert_eq!(error, "text_encoder/model.safetensors: 1 tensor missing: 'shared.weight'");
}

/// Saved by diffusers itself: `tools/reference/checkpoints.py`.
#[test]
fn folders_that_diffusers_saved_open_whole() {
    for (folder, family) in [
        ("sincos", "CogVideoX 1.0, text to video, sin-cos positions"),
        ("rope", "CogVideoX 1.0, text to video, rotary positions"),
        ("image", "CogVideoX 1.0, image to video, rotary and learned positions"),
        ("patches", "CogVideoX 1.5, text to video, rotary positions"),
        ("image15", "CogVideoX 1.5, image to video, rotary positions"),
        ("control", "CogVideoX 1.0, control video to video, rotary positions"),
    ] {
        let checkpoint = Checkpoint::open(&data().join("checkpoints").join(folder)).unwrap();
        assert_eq!(checkpoint.family().to_string(), family);
        checkpoint.weights_transformer().unwrap();
        checkpoint.weights_vae().unwrap();
        checkpoint.weights_text_encoder().unwrap();
    }
}
