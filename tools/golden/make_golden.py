#!/usr/bin/env python3
"""Writes a tiny random checkpoint and what the official network (transformers) makes of it.

    make_golden.py OUT [--style v2|v3] [--seed N] [--tokens N] [KEY=VALUE ...]

KEY=VALUE changes config.json, for example hidden_size=72 num_attention_heads=3 q_lora_rank=null.
The files are those of test/golden: config.json, model.safetensors, golden.json, golden.safetensors.
Needs torch, transformers and safetensors.
"""
import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

COMMON = {
    "vocab_size": 384, "hidden_size": 64, "intermediate_size": 128, "moe_intermediate_size": 16,
    "num_hidden_layers": 3, "num_attention_heads": 4, "n_routed_experts": 16, "num_experts_per_tok": 4,
    "n_shared_experts": 1, "kv_lora_rank": 24, "q_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16,
    "v_head_dim": 16, "first_k_dense_replace": 1, "max_position_embeddings": 1280, "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "bos_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": False, "attention_bias": False,
    "n_group": 4, "topk_group": 2, "moe_layer_freq": 1, "torch_dtype": "float32", "hidden_act": "silu",
    "rope_scaling": {"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0,
                     "mscale_all_dim": 1.0, "original_max_position_embeddings": 32},
}
STYLES = {
    "v2": {"model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"], "scoring_func": "softmax",
           "topk_method": "group_limited_greedy", "norm_topk_prob": False, "routed_scaling_factor": 16.0},
    "v3": {"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "scoring_func": "sigmoid",
           "topk_method": "noaux_tc", "norm_topk_prob": True, "routed_scaling_factor": 2.5},
}


def randomise(model, generator):
    """Weights large enough that attention is peaked and experts are chosen clearly."""
    for name, parameter in list(model.named_parameters()) + list(model.named_buffers()):
        if "inv_freq" in name:
            continue
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("e_score_correction_bias"):
            parameter.data = noise * 0.1
        elif parameter.ndim == 1:
            parameter.data = 1 + noise * 0.1
        else:
            parameter.data = noise / parameter.shape[-1] ** 0.5


def hugging_face_names(model):
    """State dict with one matrix an expert, as published checkpoints have it."""
    tensors = {}
    for name, value in model.state_dict().items():
        if name.endswith("experts.gate_up_proj"):
            for expert, both in enumerate(value):
                gate, up = both.chunk(2)
                prefix = name.removesuffix("gate_up_proj") + str(expert)
                tensors[f"{prefix}.gate_proj.weight"], tensors[f"{prefix}.up_proj.weight"] = gate, up
        elif name.endswith("experts.down_proj"):
            for expert, down in enumerate(value):
                tensors[f"{name.removesuffix('down_proj')}{expert}.down_proj.weight"] = down
        else:
            tensors[name] = value
    return {name: value.contiguous().clone() for name, value in tensors.items()}


def network_of(folder, tensors):
    """The official network of a folder's config.json, with these tensors under the names of published files."""
    config = AutoConfig.from_pretrained(folder)
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", experts_implementation="eager", dtype=torch.float32).eval()
    state = {}
    for name, own in model.state_dict().items():
        if name.endswith("experts.gate_up_proj"):
            prefix = name.removesuffix("gate_up_proj")
            both = [[tensors[f"{prefix}{e}.{p}_proj.weight"] for p in ("gate", "up")] for e in range(len(own))]
            state[name] = torch.stack([torch.cat(pair) for pair in both])
        elif name.endswith("experts.down_proj"):
            prefix = name.removesuffix("down_proj")
            state[name] = torch.stack([tensors[f"{prefix}{e}.down_proj.weight"] for e in range(len(own))])
        elif name == "lm_head.weight" and name not in tensors:
            state[name] = tensors["model.embed_tokens.weight"]
        else:
            state[name] = tensors[name]
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model


def answers(model, out, generator, tokens, steps=24):
    """Writes what a network says to two prompts."""
    golden, tensors = {"prompts": {}, "greedy": {}}, {}
    for name, length in (("short", 12), ("long", tokens)):
        ids = torch.randint(0, model.config.vocab_size, (1, length), generator=generator)
        tensors[f"{name}.input_ids"] = ids[0].int()
        tensors[f"{name}.logits"] = model(ids).logits[0].contiguous()
        reply = []
        for _ in range(steps):
            reply.append(model(torch.cat([ids, torch.tensor([reply], dtype=torch.long)], 1)).logits[0, -1].argmax().item())
        golden["prompts"][name], golden["greedy"][name] = ids[0].tolist(), {"tokens": reply}
    save_file(tensors, out / "golden.safetensors")
    (out / "golden.json").write_text(json.dumps(golden) + "\n")


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--style", choices=STYLES, default="v3")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=200, help="length of the long prompt")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    numbers = COMMON | STYLES[args.style] | {k: json.loads(v) for k, v in (c.split("=", 1) for c in args.changes)}
    numbers["num_key_value_heads"] = numbers["num_attention_heads"]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(json.dumps(numbers, indent=2) + "\n")

    generator = torch.Generator().manual_seed(args.seed)
    config = AutoConfig.from_pretrained(args.out)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", experts_implementation="eager", dtype=torch.float32).eval()
    randomise(model, generator)
    dtype = getattr(torch, numbers["torch_dtype"])
    tensors = {name: value if name.endswith("e_score_correction_bias") else value.to(dtype) for name, value in hugging_face_names(model).items()}
    if numbers["tie_word_embeddings"]:
        del tensors["lm_head.weight"]
    save_file(tensors, args.out / "model.safetensors", metadata={"format": "pt"})
    if dtype != torch.float32:
        model = network_of(args.out, tensors)  # the numbers as they are stored

    answers(model, args.out, generator, args.tokens)


if __name__ == "__main__":
    main()
