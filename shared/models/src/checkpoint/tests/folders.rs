use super::*;
use crate::checkpoint::Checkpoint;

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_folder(dir.path(), &published()["CogVideoX-2b"]);
    dir
}

fn check_error(dir: &Path, expected: &str) {
    assert_eq!(relative(Checkpoint::open(dir).unwrap_err(), dir), expected);
}

const INCOMPLETE: &str = "DIR: expected a complete checkpoint in diffusers' layout, found no";

#[test]
fn a_path_that_is_no_folder_says_so() {
    let dir = folder();
    let none = dir.path().join("none");
    check_error(&none, "DIR: expected a checkpoint folder in diffusers' layout, found nothing");
    let file = dir.path().join("model_index.json");
    check_error(&file, "DIR: expected a checkpoint folder in diffusers' layout, found a file");
}

#[test]
fn all_that_is_missing_is_listed_at_once() {
    let dir = folder();
    fs::remove_file(dir.path().join("model_index.json")).unwrap();
    fs::remove_dir_all(dir.path().join("tokenizer")).unwrap();
    fs::remove_dir_all(dir.path().join("vae")).unwrap();
    check_error(
        dir.path(),
        &format!(
            "{INCOMPLETE} model_index.json, no vae/config.json, no tokenizer/spiece.model or tokenizer/tokenizer.json, \
             no vae/diffusion_pytorch_model.safetensors or vae/diffusion_pytorch_model.safetensors.index.json"
        ),
    );
}

#[test]
fn a_missing_shard_is_found_before_anything_is_loaded() {
    let dir = folder();
    fs::remove_file(dir.path().join("text_encoder/model.safetensors")).unwrap();
    let index =
        serde_json::json!({"weight_map": {"shared.weight": "model-00001-of-00002.safetensors"}});
    write(dir.path(), "text_encoder/model.safetensors.index.json", &index);
    check_error(
        dir.path(),
        "text_encoder/model.safetensors.index.json: expected shard text_encoder/model-00001-of-00002.safetensors, \
         found no such file",
    );
}

#[test]
fn pickled_weights_are_refused_with_a_way_out() {
    let dir = folder();
    fs::remove_file(dir.path().join("text_encoder/model.safetensors")).unwrap();
    fs::write(dir.path().join("text_encoder/pytorch_model.bin"), "").unwrap();
    check_error(
        dir.path(),
        "text_encoder: expected model.safetensors or model.safetensors.index.json, found only pytorch_model.bin, a \
         pickle: save the model as safetensors",
    );
}

#[test]
fn a_part_of_another_class_is_named() {
    let dir = folder();
    let mut index = published()["CogVideoX-2b"]["model_index"].clone();
    index["text_encoder"] = serde_json::json!(["transformers", "UMT5EncoderModel"]);
    write(dir.path(), "model_index.json", &index);
    check_error(
        dir.path(),
        "model_index.json: `text_encoder`: expected T5EncoderModel, found [\"transformers\",\"UMT5EncoderModel\"]",
    );
}

#[test]
fn parts_that_do_not_fit_each_other_are_refused() {
    let dir = folder();
    let mut vae = published()["CogVideoX-2b"]["configs"]["vae"].clone();
    vae["latent_channels"] = 8.into();
    write(dir.path(), "vae/config.json", &vae);
    check_error(
        dir.path(),
        "transformer/config.json: `out_channels`: expected 8, the VAE's `latent_channels`, found 16",
    );
    let dir = folder();
    let mut text = published()["CogVideoX-2b"]["configs"]["text_encoder"].clone();
    text["d_model"] = 2048.into();
    write(dir.path(), "text_encoder/config.json", &text);
    check_error(
        dir.path(),
        "transformer/config.json: `text_embed_dim`: expected 2048, the text encoder's `d_model`, found 4096",
    );
}
