//! A checkpoint that is not whole, not sound or not of this kind ends a service with exit code 2 and
//! one line that says which file, what was expected and what was found.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_api::denoiser::v1::denoiser_service_client::DenoiserServiceClient;
use cogwheel_tests::{DamagedCheckpoint, Process, Stages, binary, data};
use serde_json::{Value, json};

const TEXT_ENCODER: &str = "cogwheel-text-encoder";
const DENOISER: &str = "cogwheel-denoiser";
const VAE: &str = "cogwheel-vae";
const ORCHESTRATOR: &str = "cogwheel-orchestrator";
const STAGES: [&str; 3] = [TEXT_ENCODER, DENOISER, VAE];
const ALL: [&str; 4] = [TEXT_ENCODER, DENOISER, VAE, ORCHESTRATOR];

const TEXT_ENCODER_WEIGHTS: &str = "text_encoder/model.safetensors";
const TRANSFORMER_WEIGHTS: &str = "transformer/diffusion_pytorch_model.safetensors";
const VAE_WEIGHTS: &str = "vae/diffusion_pytorch_model.safetensors";
/// Each stage, its weights, and one of their tensors.
const WEIGHTS: [(&str, &str, &str); 3] = [
    (TEXT_ENCODER, TEXT_ENCODER_WEIGHTS, "encoder.final_layer_norm.weight"),
    (DENOISER, TRANSFORMER_WEIGHTS, "proj_out.bias"),
    (VAE, VAE_WEIGHTS, "decoder.conv_out.conv.bias"),
];

fn sincos() -> DamagedCheckpoint {
    DamagedCheckpoint::copy_of(&data("checkpoints/sincos"))
}

/// These services end with code 2 and one line that names `file` and contains every one of `says`.
fn check(checkpoint: &DamagedCheckpoint, services: &[&str], file: &str, says: &[&str]) {
    for service in services {
        let model = checkpoint.dir().to_str().unwrap();
        let mut args = vec!["--listen", "127.0.0.1:0", "--model", model];
        if *service == ORCHESTRATOR {
            for flag in ["--text-encoder", "--denoiser", "--vae"] {
                args.extend([flag, "http://127.0.0.1:9"]);
            }
        }
        let (status, output, error) = Process::start(&binary(service), &args).wait();
        assert_eq!(status.code(), Some(2), "{service}: {error}");
        assert_eq!(output, "", "{service}");
        assert!(!error.contains("panicked"), "{service}: {error}");
        let is_error = |line: &&str| line.starts_with("error: ");
        let errors: Vec<_> = error.lines().filter(is_error).collect();
        let [line] = errors[..] else { panic!("{service}: expected one error, found {error}") };
        assert_eq!(error.lines().last(), Some(line), "{service}: it comes last");
        let path = if file.is_empty() { checkpoint.dir().into() } else { checkpoint.path(file) };
        let file = path.display().to_string();
        for text in [&file[..]].iter().chain(says) {
            assert!(line.contains(text), "{service}: expected '{text}' in '{line}'");
        }
    }
}

#[test]
fn a_folder_that_is_not_there() {
    let checkpoint = sincos();
    std::fs::remove_dir_all(checkpoint.dir()).unwrap();
    check(&checkpoint, &ALL, "", &["expected a checkpoint folder", "found nothing"]);
}

#[test]
fn files_that_are_missing_are_all_listed() {
    let checkpoint = sincos();
    for (_, weights, _) in WEIGHTS {
        checkpoint.remove(weights);
    }
    checkpoint.remove("model_index.json");
    checkpoint.remove("tokenizer/spiece.model");
    let missing = [
        "found no model_index.json",
        "no tokenizer/spiece.model",
        "no text_encoder/model.safetensors",
        "no transformer/diffusion_pytorch_model.safetensors",
        "no vae/diffusion_pytorch_model.safetensors",
    ];
    check(&checkpoint, &ALL, "", &missing);
}

#[test]
fn a_missing_shard() {
    let checkpoint = DamagedCheckpoint::copy_of(&data("checkpoints/rope"));
    let shard = "transformer/diffusion_pytorch_model-00002-of-00003.safetensors";
    checkpoint.remove(shard);
    let index = "transformer/diffusion_pytorch_model.safetensors.index.json";
    check(&checkpoint, &ALL, shard, &[index, "found no such file"]);
}

#[test]
fn weights_that_are_cut_short() {
    for (service, file, _) in WEIGHTS {
        let checkpoint = sincos();
        checkpoint.truncate(file, 90_000);
        check(&checkpoint, &[service], file, &["expected", "cut short at"]);
        // Within the header.
        checkpoint.truncate(file, 1000);
        check(
            &checkpoint,
            &[service],
            file,
            &["expected a header of", "found a file of 1000 bytes"],
        );
        checkpoint.truncate(file, 0);
        check(&checkpoint, &[service], file, &["expected", "found"]);
    }
}

#[test]
fn a_tensor_that_is_missing() {
    for (service, file, tensor) in WEIGHTS {
        let checkpoint = sincos();
        checkpoint.edit_header(file, |header| {
            let header = header.as_object_mut().unwrap();
            let entry = header.remove(tensor).unwrap();
            header.insert("foreign".to_owned(), entry);
        });
        let says = [&format!("1 tensor missing: '{tensor}'")[..], "not called for: 'foreign'"];
        check(&checkpoint, &[service], file, &says);
    }
}

#[test]
fn a_tensor_of_another_shape() {
    for (service, file, tensor) in WEIGHTS {
        let checkpoint = sincos();
        let mut shape = Value::Null;
        checkpoint.edit_header(file, |header| {
            shape = header[tensor]["shape"].clone();
            header[tensor]["shape"] = json!([1, shape[0]]);
        });
        let length = &shape[0];
        let says = format!("'{tensor}': expected shape [{length}], found [1, {length}]");
        check(&checkpoint, &[service], file, &[&says]);
    }
}

#[test]
fn a_tensor_of_a_dtype_that_nothing_is_computed_in() {
    for (service, file, tensor) in WEIGHTS {
        let checkpoint = sincos();
        checkpoint.edit_header(file, |header| header[tensor]["dtype"] = json!("I32"));
        let says = format!("'{tensor}': expected F32, F16 or BF16, found I32");
        check(&checkpoint, &[service], file, &[&says]);
        checkpoint.edit_header(file, |header| header[tensor]["dtype"] = json!("F8_E4M3"));
        check(&checkpoint, &[service], file, &[tensor, "F8_E4M3 is not supported"]);
    }
}

#[test]
fn safetensors_of_something_else() {
    for (service, file, _) in WEIGHTS {
        let checkpoint = sincos();
        std::fs::copy(data("noise.safetensors"), checkpoint.path(file)).unwrap();
        check(&checkpoint, &[service], file, &["none of the", "that the config calls for"]);
        std::fs::write(checkpoint.path(file), "not safetensors at all").unwrap();
        check(&checkpoint, &[service], file, &["expected", "found"]);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_file_is_not_waited_for() {
    let files = [
        (TEXT_ENCODER, TEXT_ENCODER_WEIGHTS),
        (TEXT_ENCODER, "tokenizer/tokenizer_config.json"),
        (DENOISER, TRANSFORMER_WEIGHTS),
        (DENOISER, "transformer/config.json"),
        (VAE, VAE_WEIGHTS),
    ];
    for (service, file) in files {
        let checkpoint = sincos();
        checkpoint.remove(file);
        pipe(&checkpoint, file);
        check(&checkpoint, &[service], file, &["not a regular file"]);
    }
    let checkpoint = DamagedCheckpoint::copy_of(&data("checkpoints/rope"));
    let index = "transformer/diffusion_pytorch_model.safetensors.index.json";
    checkpoint.remove(index);
    pipe(&checkpoint, index);
    check(&checkpoint, &[DENOISER], index, &["not a regular file"]);
}

#[cfg(unix)]
fn pipe(checkpoint: &DamagedCheckpoint, file: &str) {
    let made = std::process::Command::new("mkfifo").arg(checkpoint.path(file)).status();
    assert!(made.unwrap().success());
}

#[test]
fn a_config_of_an_unknown_class() {
    for (file, key, known) in [
        ("model_index.json", "_class_name", "CogVideoXPipeline"),
        ("transformer/config.json", "_class_name", "CogVideoXTransformer3DModel"),
        ("vae/config.json", "_class_name", "AutoencoderKLCogVideoX"),
        ("scheduler/scheduler_config.json", "_class_name", "CogVideoXDDIMScheduler"),
    ] {
        let checkpoint = sincos();
        checkpoint.edit(file, |config| config[key] = json!("WanPipeline"));
        let key = format!("`{key}`: expected ");
        check(&checkpoint, &ALL, file, &[&key, known, "found \"WanPipeline\""]);
    }
}

#[test]
fn a_config_that_asks_for_what_is_not_computed() {
    for (file, key, value) in [
        ("transformer/config.json", "activation_fn", json!("relu")),
        ("transformer/config.json", "patch_size", json!(4)),
        ("vae/config.json", "use_post_quant_conv", json!(true)),
        ("scheduler/scheduler_config.json", "timestep_spacing", json!("logarithmic")),
        ("text_encoder/config.json", "feed_forward_proj", json!("relu")),
    ] {
        let checkpoint = sincos();
        checkpoint.edit(file, |config| config[key] = value.clone());
        let says = format!("`{key}` of {value} is not supported, only ");
        check(&checkpoint, &ALL, file, &[&says]);
    }
}

#[test]
fn a_config_with_a_number_that_cannot_be() {
    for (file, key, value) in [
        ("transformer/config.json", "num_layers", json!(0)),
        ("transformer/config.json", "num_attention_heads", json!(1e300)),
        ("transformer/config.json", "norm_eps", json!("small")),
        ("vae/config.json", "norm_num_groups", json!(-1)),
        ("vae/config.json", "scaling_factor", json!(0.0)),
        ("text_encoder/config.json", "num_heads", json!([8])),
        ("scheduler/scheduler_config.json", "num_train_timesteps", json!(1u64 << 60)),
    ] {
        let checkpoint = sincos();
        checkpoint.edit(file, |config| config[key] = value.clone());
        let key = format!("`{key}`: expected ");
        check(&checkpoint, &ALL, file, &[&key, ", found "]);
    }
}

#[test]
fn a_config_that_is_no_json() {
    let checkpoint = sincos();
    let file = "transformer/config.json";
    std::fs::write(checkpoint.path(file), "{\"num_layers\": 2,").unwrap();
    check(&checkpoint, &ALL, file, &["expected a JSON object"]);
    std::fs::write(checkpoint.path(file), [0xff; 100]).unwrap();
    check(&checkpoint, &ALL, file, &["expected a JSON object"]);
}

#[test]
fn a_tokenizer_that_is_none() {
    let checkpoint = sincos();
    let file = "tokenizer/spiece.model";
    std::fs::write(checkpoint.path(file), "not a model").unwrap();
    check(&checkpoint, &[TEXT_ENCODER], file, &["expected", "found"]);
    checkpoint.truncate(file, 0);
    check(&checkpoint, &[TEXT_ENCODER], file, &["expected", "found"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_are_no_numbers_are_loaded_as_they_are() {
    let checkpoint = sincos();
    for (_, file, tensor) in WEIGHTS {
        checkpoint.fill_with_nan(file, tensor);
    }
    for name in STAGES {
        Stages::stage(name, checkpoint.dir(), &[]).wait_for("\"ready\"");
    }
    let denoiser = Stages::stage(DENOISER, checkpoint.dir(), &[]);
    let empty = DenoiserServiceClient::new(denoiser.channel()).denoise(tokio_stream::empty()).await;
    assert_eq!(empty.unwrap_err().code(), tonic::Code::InvalidArgument, "it serves");
}
