use std::path::Path;

use cogwheel_diffusion::scheduler::{SchedulerConfig, SchedulerKind, TimestepSpacing};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TRANSFORMER: &str = "CogVideoXTransformer3DModel";
const VAE: &str = "AutoencoderKLCogVideoX";

fn file() -> &'static Path {
    Path::new("config.json")
}

fn transformer(mut config: Value) -> Result<TransformerConfig, ConfigError> {
    config["_class_name"] = json!(TRANSFORMER);
    TransformerConfig::parse(file(), config.to_string().as_bytes())
}

fn vae(mut config: Value) -> Result<VaeConfig, ConfigError> {
    config["_class_name"] = json!(VAE);
    VaeConfig::parse(file(), config.to_string().as_bytes())
}

fn text_encoder(mut config: Value) -> Result<TextEncoderConfig, ConfigError> {
    config["model_type"] = json!("t5");
    if config.get("feed_forward_proj").is_none() {
        config["feed_forward_proj"] = json!("gated-gelu");
    }
    TextEncoderConfig::parse(file(), config.to_string().as_bytes())
}

fn scheduler(mut config: Value) -> Result<SchedulerFileConfig, ConfigError> {
    if config.get("_class_name").is_none() {
        config["_class_name"] = json!("CogVideoXDDIMScheduler");
    }
    SchedulerFileConfig::parse(file(), config.to_string().as_bytes())
}

fn check<T: std::fmt::Debug>(found: Result<T, ConfigError>, expected: &str) {
    assert_eq!(found.unwrap_err().to_string(), format!("config.json: {expected}"));
}

#[test]
fn absent_keys_and_null_take_the_constructors_defaults() {
    assert_eq!(transformer(json!({})).unwrap(), TransformerConfig::default());
    let nulls = json!({"num_layers": null, "patch_size_t": null, "ofs_embed_dim": null, "patch_bias": null});
    assert_eq!(transformer(nulls).unwrap(), TransformerConfig::default());
    assert_eq!(vae(json!({})).unwrap(), VaeConfig::default());
    assert_eq!(text_encoder(json!({})).unwrap(), TextEncoderConfig::default());
    let scheduler = scheduler(json!({})).unwrap();
    assert_eq!(
        (scheduler.kind, scheduler.config),
        (SchedulerKind::Ddim, SchedulerConfig::default())
    );
}

#[test]
fn keys_that_are_there_are_taken() {
    let config = transformer(json!({
        "num_attention_heads": 48, "num_layers": 42, "in_channels": 32, "patch_size_t": 2, "patch_bias": false,
        "ofs_embed_dim": 512, "use_rotary_positional_embeddings": true, "sample_frames": 81, "norm_eps": 1e-6,
    }))
    .unwrap();
    assert_eq!((config.inner_dim(), config.num_layers, config.in_channels), (3072, 42, 32));
    assert_eq!((config.patch_size_t, config.ofs_embed_dim), (Some(2), Some(512)));
    assert_eq!((config.sample_latent_frames(), config.norm_eps), (21, 1e-6));
    let config = vae(
        json!({"temporal_compression_ratio": 4.0, "scaling_factor": 0.7, "invert_scale_latents": true}),
    );
    let config = config.unwrap();
    assert_eq!((config.scaling_factor, config.invert_scale_latents), (0.7, true));
    let config =
        scheduler(json!({"_class_name": "CogVideoXDPMScheduler", "timestep_spacing": "trailing"}))
            .unwrap();
    assert_eq!(config.kind, SchedulerKind::Dpm);
    assert_eq!(config.config.timestep_spacing, TimestepSpacing::Trailing);
}

#[test]
fn a_number_of_frames_that_the_vae_does_not_make_is_refused() {
    for frames in [9, 17, 49, 81] {
        assert!(transformer(json!({ "sample_frames": frames })).is_ok(), "{frames}");
    }
    for frames in [1, 8, 13, 48, 50] {
        check(
            transformer(json!({ "sample_frames": frames })),
            &format!(
                "`sample_frames`: expected a multiple of 8 and one more, as 49 or 81, found {frames}"
            ),
        );
    }
}

#[test]
fn another_class_is_named() {
    let found = |class: &str| json!({"_class_name": class}).to_string().into_bytes();
    check(
        TransformerConfig::parse(file(), &found("FluxTransformer2DModel")),
        "`_class_name`: expected \"CogVideoXTransformer3DModel\", found \"FluxTransformer2DModel\"",
    );
    check(
        VaeConfig::parse(file(), b"{}"),
        "`_class_name`: expected \"AutoencoderKLCogVideoX\", found nothing",
    );
    check(
        TextEncoderConfig::parse(file(), br#"{"model_type":"umt5"}"#),
        "`model_type`: expected \"t5\", found \"umt5\"",
    );
    check(
        scheduler(json!({"_class_name": "DDIMScheduler"})),
        "`_class_name`: expected \"CogVideoXDDIMScheduler\" or \"CogVideoXDPMScheduler\", found \"DDIMScheduler\"",
    );
}

#[test]
fn sizes_of_the_wrong_type_or_out_of_bounds_are_named() {
    let expected = "`num_layers`: expected a whole number from 1 to 1024, found ";
    for (value, found) in [
        (json!(0), "0"),
        (json!(-1), "-1"),
        (json!(2.5), "2.5"),
        (json!(1e300), "1e300"),
        (json!("30"), "\"30\""),
        (json!([30]), "[30]"),
        (json!(u64::MAX), "18446744073709551615"),
    ] {
        let found = if found == "1e300" { json!(1e300).to_string() } else { found.to_owned() };
        check(transformer(json!({"num_layers": value})), &format!("{expected}{found}"));
    }
    check(
        transformer(json!({"norm_eps": 0})),
        "`norm_eps`: expected a finite number above 0, found 0",
    );
    check(
        vae(json!({"invert_scale_latents": 1})),
        "`invert_scale_latents`: expected true or false, found 1",
    );
    check(
        vae(json!({"block_out_channels": "x".repeat(200)})),
        &format!(
            "`block_out_channels`: expected a list of whole numbers from 1 to 16384, found \"{}...",
            "x".repeat(79)
        ),
    );
}

#[test]
fn dimensions_that_positions_cannot_have_are_refused() {
    check(
        transformer(json!({"attention_head_dim": 24, "use_rotary_positional_embeddings": true})),
        "`attention_head_dim`: expected a multiple of 16, which rotary positions need, found 24",
    );
    assert!(transformer(json!({"attention_head_dim": 24, "num_attention_heads": 2})).is_ok());
    check(
        transformer(json!({"attention_head_dim": 24, "num_attention_heads": 3})),
        "`attention_head_dim`: expected a multiple of 16 together with `num_attention_heads`, which sin-cos positions need, found 3 x 24",
    );
    check(
        transformer(json!({"sample_width": 45})),
        "`sample_width`: expected a multiple of `patch_size` 2, found 45",
    );
    check(
        transformer(json!({"in_channels": 24})),
        "`in_channels`: expected 16 or 32, for `out_channels` of 16, found 24",
    );
    check(
        vae(json!({"norm_num_groups": 48})),
        "`block_out_channels`: expected multiples of `norm_num_groups` 48, found 128",
    );
    check(
        text_encoder(json!({"relative_attention_max_distance": 8})),
        "`relative_attention_max_distance`: expected more than a quarter of the 32 buckets, found 8",
    );
    check(
        scheduler(json!({"beta_start": 0.5, "beta_end": 0.1})),
        "`beta_end`: expected at least the 0.5 of `beta_start`, found 0.1",
    );
}

#[test]
fn what_is_not_computed_is_refused_rather_than_ignored() {
    let refused = |found: Result<(), ConfigError>, key: &str| {
        let error = found.unwrap_err();
        assert!(
            matches!(&error, ConfigError::Unsupported { key: found, .. } if found == key),
            "{error}"
        );
    };
    for (key, value) in [
        ("activation_fn", json!("geglu")),
        ("timestep_activation_fn", json!("gelu")),
        ("patch_size", json!(4)),
        ("patch_size_t", json!(4)),
        ("patch_bias", json!(false)),
        ("attention_bias", json!(false)),
        ("norm_elementwise_affine", json!(false)),
        ("flip_sin_to_cos", json!(false)),
        ("freq_shift", json!(1)),
        ("temporal_compression_ratio", json!(8)),
        ("use_learned_positional_embeddings", json!(true)),
    ] {
        refused(transformer(json!({key: value})).map(drop), key);
    }
    for (key, value) in [
        ("act_fn", json!("relu")),
        ("use_quant_conv", json!(true)),
        ("use_post_quant_conv", json!(true)),
        ("down_block_types", json!(["DownEncoderBlock2D"])),
        ("up_block_types", json!(["CogVideoXUpBlock3D"])),
        ("block_out_channels", json!([128, 256])),
        ("temporal_compression_ratio", json!(2)),
        ("in_channels", json!(4)),
        ("out_channels", json!(1)),
    ] {
        refused(vae(json!({key: value})).map(drop), key);
    }
    check(
        transformer(json!({"patch_size_t": 2})),
        "`patch_size_t`: expected null, or rotary positions alone, which patches of two frames need, found 2",
    );
    check(
        transformer(json!({"ofs_embed_dim": 256})),
        "`ofs_embed_dim`: expected 512, as `time_embed_dim`, to which it is added, found 256",
    );
    for (key, value) in [
        ("feed_forward_proj", json!("relu")),
        ("feed_forward_proj", json!("gated-silu")),
        ("dense_act_fn", json!("relu")),
        ("is_gated_act", json!(false)),
        ("is_decoder", json!(true)),
    ] {
        refused(text_encoder(json!({key: value})).map(drop), key);
    }
    let ungated = TextEncoderConfig::parse(file(), br#"{"model_type":"t5"}"#);
    check(ungated, "`feed_forward_proj` of \"relu\" is not supported, only \"gated-gelu\"");
    for (key, value) in [
        ("beta_schedule", json!("squaredcos_cap_v2")),
        ("prediction_type", json!("flow")),
        ("timestep_spacing", json!(7)),
        ("trained_betas", json!([0.1])),
    ] {
        refused(scheduler(json!({key: value})).map(drop), key);
    }
}

#[test]
fn files_that_hold_no_config_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let error = || VaeConfig::read(&path).unwrap_err();
    assert!(matches!(error(), ConfigError::Read { .. }));
    std::fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(matches!(error(), ConfigError::TooLarge { found: 1_048_577, .. }));
    for text in ["", "[]", "{", "null", "3", &"[".repeat(10_000)] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(error(), ConfigError::Json { .. }), "{text}");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(error().to_string().ends_with("not a regular file"));
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0u64..70_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        proptest::collection::vec(any::<u16>(), 0..5).prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn no_value_of_any_key_panics(
        key in proptest::sample::select(vec![
            "num_attention_heads", "attention_head_dim", "in_channels", "out_channels", "time_embed_dim", "ofs_embed_dim",
            "sample_width", "sample_frames", "patch_size", "patch_size_t", "norm_eps", "max_text_seq_length",
            "block_out_channels", "latent_channels", "norm_num_groups", "layers_per_block", "scaling_factor",
            "down_block_types", "vocab_size", "d_kv", "relative_attention_num_buckets",
            "num_train_timesteps", "beta_start", "steps_offset", "prediction_type", "snr_shift_scale",
        ]),
        value in any_value(),
    ) {
        if let Ok(config) = transformer(json!({key: value.clone()})) {
            prop_assert!(crate::names::parameter_count(&crate::names::transformer(&config)) > 0);
        }
        if let Ok(config) = vae(json!({key: value.clone()})) {
            prop_assert!(crate::names::parameter_count(&crate::names::vae(&config)) > 0);
        }
        if let Ok(config) = text_encoder(json!({key: value.clone()})) {
            prop_assert!(crate::names::parameter_count(&crate::names::text_encoder(&config)) > 0);
        }
        let _ = scheduler(json!({key: value}));
    }
}

#[test]
fn the_largest_config_that_is_let_in_has_a_countable_number_of_parameters() {
    let config = transformer(json!({
        "num_attention_heads": 1024, "attention_head_dim": 1024, "num_layers": 1024, "in_channels": 4096,
        "out_channels": 4096, "time_embed_dim": 65536, "text_embed_dim": 65536, "sample_width": 8192,
        "sample_height": 8192, "sample_frames": 65529, "use_rotary_positional_embeddings": true,
        "use_learned_positional_embeddings": true, "ofs_embed_dim": 65536,
    }))
    .unwrap();
    let elements: u128 = crate::names::transformer(&config)
        .iter()
        .map(|tensor| tensor.shape.iter().map(|&dim| dim as u128).product::<u128>())
        .sum();
    assert!(elements < u128::from(u64::MAX), "{elements}");
}
