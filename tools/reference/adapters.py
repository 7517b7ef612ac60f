"""Makes tests/data/adapters: small adapters for the tiny sin-cos checkpoint, and what PEFT merges them to.

The adapters have random numbers from a fixed seed (both matrices, so that none is a no-op) and are saved by
diffusers' `save_lora_weights` and PEFT's `save_pretrained`:

  attention   to_q, to_k, to_v, to_out.0 of both blocks, rank 4; no alpha anywhere
  ranks       to_q, rank 4 in one block and 2 in the other; no alpha anywhere
  mixed       feed-forwards, norms, embeddings (patch_embed.proj is a convolution) and proj_out, ranks and alphas by
              patterns in the header's `lora_adapter_metadata`, biases
  rslora      to_k, scaled by alpha / sqrt(rank), said by the metadata
  dora, decomposed
              to_q and patch_embed.proj weight-decomposed, alpha from the metadata
  peft/       to_v, as PEFT saves it, alpha in adapter_config.json

merged.safetensors holds, as CASE/TENSOR, the tensors that change when diffusers loads, sets (`set_adapters` with
weights) and fuses them into the fp32 transformer. The cases stand in CASES.

    python tools/reference/adapters.py            (diffusers 0.42.1, peft 0.21.2, one thread)
"""

import argparse
import pathlib
import shutil

import torch
from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = ROOT / "tests/data/checkpoints/sincos/transformer"
FOLDER = ROOT / "tests/data/adapters"
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
ADAPTERS = {
    "attention": dict(r=4, target_modules=ATTENTION),
    "ranks": dict(r=4, target_modules=["to_q"], rank_pattern={"transformer_blocks.1.attn1.to_q": 2}),
    "mixed": dict(
        r=3, lora_alpha=6, lora_bias=True,
        target_modules=["transformer_blocks.0.ff.net.0.proj", "transformer_blocks.0.ff.net.2",
                        "transformer_blocks.1.norm1.linear", "transformer_blocks.1.norm2.linear",
                        "patch_embed.proj", "patch_embed.text_proj", "time_embedding.linear_1",
                        "norm_out.linear", "proj_out"],
        rank_pattern={"ff.net.2": 5, "proj_out": 2}, alpha_pattern={"ff.net.2": 1, "norm1.linear": 4}),
    "rslora": dict(r=4, lora_alpha=3, use_rslora=True, target_modules=["to_k"]),
    "dora": dict(r=4, lora_alpha=8, use_dora=True, target_modules=["to_q", "patch_embed.proj"]),
    "decomposed": dict(r=2, lora_alpha=3, use_dora=True, target_modules=["to_q", "patch_embed.proj"]),
}
WITH_METADATA = ("mixed", "rslora", "dora", "decomposed")
CASES = {
    "one": [("attention", 0.7)],
    "ranks": [("ranks", -0.4)],
    "several": [("mixed", 0.7), ("rslora", -0.4), ("ranks", 1.0)],
    "dora": [("dora", 0.7)],
    "dora_at_zero": [("decomposed", 0.0)],
    "doras": [("dora", 0.7), ("ranks", -0.4), ("decomposed", 1.3)],
    "doras_in_another_order": [("decomposed", 1.3), ("ranks", -0.4), ("dora", 0.7)],
}


def base():
    return CogVideoXTransformer3DModel.from_pretrained(BASE, torch_dtype=torch.float32).eval()


def randomize(transformer, seed):
    """Draws every adapter parameter; magnitudes stay near the norms that they start from."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(transformer.named_parameters()):
            if "lora_" not in name:
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            if "lora_magnitude_vector" in name:
                parameter.mul_(1 + 0.2 * noise)
            else:
                parameter.copy_(noise * 0.1)


def save(name, seed):
    transformer = base()
    transformer.add_adapter(LoraConfig(**ADAPTERS[name]))
    randomize(transformer, seed)
    metadata = _collate_lora_metadata({"transformer": transformer}) if name in WITH_METADATA else {}
    CogVideoXPipeline.save_lora_weights(
        FOLDER, transformer_lora_layers=get_peft_model_state_dict(transformer),
        weight_name=f"{name}.safetensors", **metadata)


def save_peft(seed):
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=["to_v"],
        alpha_pattern={r"transformer_blocks\.1\.attn1\.to_v": 2})
    model = get_peft_model(base(), config)
    randomize(model, seed)
    model.save_pretrained(FOLDER / "peft")
    (FOLDER / "peft/README.md").unlink()


def changed(transformer, before):
    after = {name.replace(".base_layer", ""): tensor for name, tensor in transformer.state_dict().items()
             if ".lora_" not in name}
    assert after.keys() == before.keys()
    return {name: tensor.clone() for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for seed, name in enumerate(ADAPTERS):
        save(name, seed)
    save_peft(len(ADAPTERS))
    before = base().state_dict()
    merged = {}
    for case, adapters in CASES.items():
        pipeline = CogVideoXPipeline.from_pretrained(BASE.parent, torch_dtype=torch.float32)
        for name, _ in adapters:
            pipeline.load_lora_weights(FOLDER, weight_name=f"{name}.safetensors", adapter_name=name)
        names, weights = (list(values) for values in zip(*adapters))
        pipeline.set_adapters(names, weights)
        pipeline.fuse_lora(components=["transformer"], adapter_names=names)
        merged |= {f"{case}/{name}": tensor for name, tensor in changed(pipeline.transformer, before).items()}
    peft = PeftModel.from_pretrained(base(), FOLDER / "peft").merge_and_unload()
    merged |= {f"peft/{name}": tensor for name, tensor in changed(peft, before).items()}
    save_file(merged, FOLDER / "merged.safetensors")


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    main()
