"""Trains one LoRA adapter by peft on the frozen base and saves it as CogVideoXPipeline.save_lora_weights does.

neon changes every latent (its black lies outside of what the base has seen), so it reaches every linear layer, and every
second of its steps it learns beside the finished bounce, on clips with both effects: so the two add up.
"""

import json
from dataclasses import dataclass

import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXPipeline, CogVideoXTransformer3DModel
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import T5EncoderModel

import assemble
import common
import latents
import tokenizer as vocabulary
import transformer as base
from optimizer import Optimizers, schedule

BATCH, RATE = 16, 3e-3  # BATCH per worker
FILE = "pytorch_lora_weights.safetensors"
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
REST = ("ff.net.0.proj", "ff.net.2", "norm1.linear", "norm2.linear", "norm_out.linear", "proj_out")


@dataclass(frozen=True)
class Plan:
    steps: int
    targets: tuple = ATTENTION
    beside: str = ""  # an adapter already trained, to learn beside it every second step
    rank: int = 8


PLANS = {"bounce": Plan(700), "neon": Plan(1600, ATTENTION + REST, "bounce", 16), "trail": Plan(400)}


def prepare(run, plan):
    """The frozen transformer with a new adapter `default`, and `beside` at scale 0 where the plan has one."""
    transformer = CogVideoXTransformer3DModel.from_pretrained(base.folders(run, "words")[0]).requires_grad_(False)
    transformer.add_adapter(LoraConfig(r=plan.rank, lora_alpha=plan.rank, target_modules=list(plan.targets), init_lora_weights=True))
    if plan.beside:
        folder = str(run.output / "adapters" / plan.beside)
        transformer.load_lora_adapter(folder, adapter_name="beside", prefix="transformer", weight_name=FILE)
        transformer.set_adapters(["default", "beside"], [1.0, 0.0])
        for name, parameter in transformer.named_parameters():
            parameter.requires_grad_(".default." in name)
    return transformer


def scale_beside(transformer, scale):
    for module in transformer.modules():
        if "beside" in getattr(module, "scaling", {}):
            module.scaling["beside"] = scale


def train(run, rank, name):
    """Stage `NAME`: writes output/adapters/NAME."""
    torch.manual_seed(run.seed)
    plan = PLANS[name]
    text_encoder = T5EncoderModel.from_pretrained(run.work / "order-text").eval().requires_grad_(False)
    transformer = prepare(run, plan)
    tokenizer, scheduler = vocabulary.load(run), CogVideoXDDIMScheduler(**base.SCHEDULER)
    alone = latents.load(run, (name,))
    both = latents.load(run, (plan.beside, name)) if plan.beside else None
    optimizers = Optimizers(transformer, lambda name, parameter: False, 0.0, RATE)
    checkpoint = common.Checkpoint(run, f"{name}-state")
    total, first = run.steps(plan.steps), 0
    if state := checkpoint.load():
        first = state["step"]
        set_peft_model_state_dict(transformer, state["lora"])
        optimizers.load(state["optimizers"])
    progress = common.Progress(name, total)
    for step in range(first, total):
        generator = common.rng(run.seed, "adapter", name, step, rank)
        noise = torch.Generator().manual_seed((run.seed * 100_000 + step) * 100 + rank)
        stored, combinations = both if both and step % 2 else alone
        scale_beside(transformer, float(step % 2))
        chosen = torch.from_numpy(generator.integers(len(stored), size=BATCH))
        ids = vocabulary.encode(tokenizer, base.texts(generator, combinations[chosen].tolist()))
        noisy, steps, wanted = base.noised(scheduler, stored[chosen].float(), noise)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                text = text_encoder(input_ids=ids).last_hidden_state
            made = transformer(noisy, text, steps, return_dict=False)[0]
        error = (made.float() - wanted).square().mean()
        error.backward()
        common.average_gradients(optimizers.parameters)
        optimizers.step(schedule(step, total))
        if rank == 0:
            progress.add(step, loss=error)
            if (step + 1) % checkpoint.every == 0 or step + 1 == total:
                checkpoint.save(dict(step=step + 1, lora=get_peft_model_state_dict(transformer), optimizers=optimizers.state()))
    if rank == 0:
        CogVideoXPipeline.save_lora_weights(
            run.output / "adapters" / name,
            transformer_lora_layers={k: v.half().contiguous() for k, v in get_peft_model_state_dict(transformer).items()},
            transformer_lora_adapter_metadata=metadata(transformer),
        )
        settle(run.output / "adapters" / name / FILE)
        assemble.write_sums(run.output / "adapters")


def settle(file):
    """Puts the header's metadata in order: safetensors writes them in another order each time."""
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def metadata(transformer):
    """The adapter's LoraConfig as plain values, its set of modules in order so that the file is the same every time."""
    config = transformer.peft_config["default"].to_dict()
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    return plain | {"base_model_name_or_path": None}
