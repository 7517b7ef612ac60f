"""Names, shapes and parameter counts of the published CogVideoX models, as diffusers and transformers define them.

Builds every part of the five published models on torch's meta device (no weights, no memory) from the configs written
here, which hold the keys that the published files have: newer keys are left out, so that whoever reads them has to know
the constructors' defaults. For each part it stores

    parameters   elements of all parameters
    buffers      elements of the persistent buffers
    tensors      names that the saved file has
    fnv1a64      64-bit FNV-1a, as 16 hexadecimal digits, over the lines "NAME DIM DIM ...\\n" in the order of the names

and the configs themselves. Writes tests/data/published_models.json.

    python tools/reference/parameter_counts.py [--output FILE]

Made with diffusers 0.42.1, transformers 5.23.0 and torch 2.15.0.
"""

import argparse
import json
import pathlib

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from transformers import T5Config, T5EncoderModel

SCHEDULER = {
    "_class_name": "CogVideoXDDIMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "sample_max_value": 1.0,
    "set_alpha_to_one": True,
    "snr_shift_scale": 3.0,
    "steps_offset": 0,
    "timestep_spacing": "trailing",
    "trained_betas": None,
}
TEXT_ENCODER = {
    "architectures": ["T5EncoderModel"],
    "d_ff": 10240,
    "d_kv": 64,
    "d_model": 4096,
    "decoder_start_token_id": 0,
    "dense_act_fn": "gelu_new",
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "feed_forward_proj": "gated-gelu",
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "is_gated_act": True,
    "layer_norm_epsilon": 1e-06,
    "model_type": "t5",
    "num_decoder_layers": 24,
    "num_heads": 64,
    "num_layers": 24,
    "output_past": True,
    "pad_token_id": 0,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": 32128,
}
VAE = {
    "_class_name": "AutoencoderKLCogVideoX",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 256, 512],
    "down_block_types": ["CogVideoXDownBlock3D"] * 4,
    "force_upcast": True,
    "in_channels": 3,
    "latent_channels": 16,
    "latents_mean": None,
    "latents_std": None,
    "layers_per_block": 3,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_height": 480,
    "sample_width": 720,
    "scaling_factor": 1.15258426,
    "shift_factor": None,
    "temporal_compression_ratio": 4,
    "up_block_types": ["CogVideoXUpBlock3D"] * 4,
    "use_post_quant_conv": False,
    "use_quant_conv": False,
}
TRANSFORMER = {
    "_class_name": "CogVideoXTransformer3DModel",
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "attention_head_dim": 64,
    "dropout": 0.0,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 16,
    "max_text_seq_length": 226,
    "norm_elementwise_affine": True,
    "norm_eps": 1e-05,
    "num_attention_heads": 30,
    "num_layers": 30,
    "out_channels": 16,
    "patch_size": 2,
    "sample_frames": 49,
    "sample_height": 60,
    "sample_width": 90,
    "spatial_interpolation_scale": 1.875,
    "temporal_compression_ratio": 4,
    "temporal_interpolation_scale": 1.0,
    "text_embed_dim": 4096,
    "time_embed_dim": 512,
    "timestep_activation_fn": "silu",
}
FIVE_B = {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}
ONE_FIVE = {
    **FIVE_B,
    "ofs_embed_dim": None,
    "patch_bias": False,
    "patch_size_t": 2,
    "sample_frames": 81,
    "sample_height": 96,
    "sample_width": 170,
    "use_learned_positional_embeddings": False,
}
IMAGE = {"in_channels": 32}
RESCALED = {"scaling_factor": 0.7}

# name: (pipeline, changes to the transformer, to the VAE, to the scheduler)
MODELS = {
    "CogVideoX-2b": ("CogVideoXPipeline", {}, {}, {}),
    "CogVideoX-5b": ("CogVideoXPipeline", FIVE_B, RESCALED, {"snr_shift_scale": 1.0}),
    "CogVideoX-5b-I2V": (
        "CogVideoXImageToVideoPipeline",
        {**FIVE_B, **IMAGE, "use_learned_positional_embeddings": True},
        RESCALED,
        {"snr_shift_scale": 1.0},
    ),
    "CogVideoX1.5-5B": (
        "CogVideoXPipeline",
        ONE_FIVE,
        {**RESCALED, "invert_scale_latents": True},
        {"snr_shift_scale": 1.0},
    ),
    "CogVideoX1.5-5B-I2V": (
        "CogVideoXImageToVideoPipeline",
        {**ONE_FIVE, **IMAGE, "ofs_embed_dim": 512},
        {**RESCALED, "invert_scale_latents": True},
        {"snr_shift_scale": 1.0},
    ),
}


def fnv1a64(text: str) -> str:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) % (1 << 64)
    return f"{value:016x}"


def count(module: torch.nn.Module, tied: tuple[str, ...] = ()) -> dict:
    saved = {name: tuple(t.shape) for name, t in module.state_dict().items() if name not in tied}
    buffers = {name for name, _ in module.named_buffers()} & saved.keys()
    elements = {name: torch.Size(shape).numel() for name, shape in saved.items()}
    lines = "".join(" ".join([name, *map(str, saved[name])]) + "\n" for name in sorted(saved))
    return {
        "parameters": sum(n for name, n in elements.items() if name not in buffers),
        "buffers": sum(elements[name] for name in buffers),
        "tensors": len(saved),
        "fnv1a64": fnv1a64(lines),
    }


def model(pipeline: str, transformer: dict, vae: dict, scheduler: dict) -> dict:
    configs = {
        "transformer": {**TRANSFORMER, **transformer},
        "vae": {**VAE, **vae},
        "text_encoder": TEXT_ENCODER,
        "scheduler": {**SCHEDULER, **scheduler},
    }
    with torch.device("meta"):
        parts = {
            "transformer": count(CogVideoXTransformer3DModel.from_config(configs["transformer"])),
            "vae": count(AutoencoderKLCogVideoX.from_config(configs["vae"])),
            # save_pretrained keeps `shared.weight` of the two tied names.
            "text_encoder": count(
                T5EncoderModel(T5Config(**configs["text_encoder"])), tied=("encoder.embed_tokens.weight",)
            ),
        }
    index = {
        "_class_name": pipeline,
        "scheduler": ["diffusers", configs["scheduler"]["_class_name"]],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["diffusers", "CogVideoXTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLCogVideoX"],
    }
    return {"model_index": index, "configs": configs, "parts": parts}


def main() -> None:
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=root / "tests/data/published_models.json")
    output = parser.parse_args().output
    torch.set_num_threads(1)
    models = {name: model(*arguments) for name, arguments in MODELS.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(models, indent=1) + "\n")
    for name, described in models.items():
        print(name, {part: counts["parameters"] for part, counts in described["parts"].items()})


if __name__ == "__main__":
    main()
