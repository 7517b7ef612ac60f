use cogwheel_diffusion::scheduler::SchedulerKind;

use super::*;
use crate::checkpoint::{Checkpoint, Defaults, SideLimit, SideLimits};

fn open(name: &str) -> Checkpoint {
    // The folder's name says nothing, on purpose.
    let dir = tempfile::tempdir().unwrap();
    write_folder(dir.path(), &published()[name]);
    Checkpoint::open(dir.path()).unwrap()
}

#[test]
fn every_published_family_is_recognised_and_named() {
    for (name, family) in [
        ("CogVideoX-2b", "CogVideoX 1.0, text to video, sin-cos positions"),
        ("CogVideoX-5b", "CogVideoX 1.0, text to video, rotary positions"),
        ("CogVideoX-5b-I2V", "CogVideoX 1.0, image to video, rotary and learned positions"),
        ("CogVideoX1.5-5B", "CogVideoX 1.5, text to video, rotary positions"),
        ("CogVideoX1.5-5B-I2V", "CogVideoX 1.5, image to video, rotary positions"),
    ] {
        assert_eq!(open(name).family().to_string(), family);
    }
}

#[test]
fn parameters_are_counted_by_part() {
    let count = open("CogVideoX-5b-I2V").parameter_count();
    assert_eq!(count.transformer, 5_570_479_680);
    assert_eq!(count.vae, 215_583_907);
    assert_eq!(count.text_encoder, 4_762_310_656);
}

#[test]
fn defaults_follow_from_the_configs() {
    let two = Defaults {
        width: 720,
        height: 480,
        num_frames: 49,
        fps: 8,
        num_inference_steps: 50,
        guidance_scale: 6.0,
        scheduler: SchedulerKind::Ddim,
        use_dynamic_cfg: false,
        max_sequence_length: 226,
    };
    assert_eq!(open("CogVideoX-2b").defaults(), two);
    // The published scheduler config names DDIM here too.
    let five = Defaults { scheduler: SchedulerKind::Dpm, use_dynamic_cfg: true, ..two };
    assert_eq!(open("CogVideoX-5b").defaults(), five);
    let newer = Defaults { width: 1360, height: 768, num_frames: 81, fps: 16, ..five };
    assert_eq!(open("CogVideoX1.5-5B").defaults(), newer);
}

#[test]
fn a_bound_of_positions_is_no_default_size_of_1_5() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = published()["CogVideoX1.5-5B-I2V"].clone();
    let limits = |model: &serde_json::Value| {
        write_folder(dir.path(), model);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let Defaults { width, height, .. } = checkpoint.defaults();
        (width, height, checkpoint.side_limits())
    };
    let at_most = |width, height| SideLimits {
        width: SideLimit::AtMost(width),
        height: SideLimit::AtMost(height),
    };
    model["configs"]["transformer"]["sample_width"] = 300.into();
    model["configs"]["transformer"]["sample_height"] = 300.into();
    assert_eq!(limits(&model), (1360, 768, at_most(2400, 2400)));
    model["configs"]["transformer"]["sample_width"] = 170.into();
    model["configs"]["transformer"]["sample_height"] = 96.into();
    assert_eq!(limits(&model), (1360, 768, at_most(1360, 768)));
    assert_eq!(open("CogVideoX-5b").side_limits().width, SideLimit::Any);
    assert_eq!(open("CogVideoX-5b-I2V").side_limits().height, SideLimit::Learned(480));
}

#[test]
fn a_pipeline_at_odds_with_its_transformer_is_refused() {
    let check = |model: &str, class: &str, expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut model = published()[model].clone();
        model["model_index"]["_class_name"] = class.into();
        write_folder(dir.path(), &model);
        match Checkpoint::open(dir.path()) {
            Ok(checkpoint) => assert_eq!(checkpoint.family().to_string(), expected),
            Err(error) => assert_eq!(relative(error, dir.path()), expected),
        }
    };
    check(
        "CogVideoX-2b",
        "CogVideoXImageToVideoPipeline",
        "transformer/config.json: `in_channels`: expected twice the 16 `out_channels`, for the \
         CogVideoXImageToVideoPipeline of model_index.json, found 16",
    );
    check(
        "CogVideoX1.5-5B-I2V",
        "CogVideoXPipeline",
        "transformer/config.json: `in_channels`: expected the 16 `out_channels`, for the CogVideoXPipeline of \
         model_index.json, found 32",
    );
    check(
        "CogVideoX-2b",
        "CogVideoXVideoToVideoPipeline",
        "CogVideoX 1.0, text to video, sin-cos positions",
    );
    check(
        "CogVideoX1.5-5B-I2V",
        "CogVideoXFunControlPipeline",
        "transformer/config.json: `ofs_embed_dim`: expected null, for the CogVideoXFunControlPipeline of \
         model_index.json, which gives none, found 512",
    );
    check(
        "CogVideoX-2b",
        "FluxPipeline",
        "model_index.json: `_class_name`: expected \"CogVideoXPipeline\" or \"CogVideoXImageToVideoPipeline\" or \
         \"CogVideoXVideoToVideoPipeline\" or \"CogVideoXFunControlPipeline\", found \"FluxPipeline\"",
    );
}
