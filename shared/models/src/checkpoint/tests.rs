mod families;
mod folders;
mod memory;
mod weights;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Written by `tools/reference/parameter_counts.py`.
fn published() -> Value {
    let path = data().join("published_models.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data")
}

/// A published model's folder, its files for weights and tokenizer empty.
fn write_folder(dir: &Path, model: &Value) {
    for part in ["tokenizer", "text_encoder", "transformer", "vae", "scheduler"] {
        fs::create_dir_all(dir.join(part)).unwrap();
    }
    write(dir, "model_index.json", &model["model_index"]);
    for part in ["text_encoder", "transformer", "vae"] {
        write(dir, &format!("{part}/config.json"), &model["configs"][part]);
    }
    write(dir, "scheduler/scheduler_config.json", &model["configs"]["scheduler"]);
    for file in [
        "tokenizer/spiece.model",
        "text_encoder/model.safetensors",
        "transformer/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ] {
        fs::write(dir.join(file), "").unwrap();
    }
}

fn write(dir: &Path, file: &str, json: &Value) {
    fs::write(dir.join(file), json.to_string()).unwrap();
}

/// An error's text without the folder's path.
fn relative(error: impl std::fmt::Display, dir: &Path) -> String {
    let dir = dir.display().to_string();
    error.to_string().replace(&format!("{dir}/"), "").replace(&dir, "DIR")
}
