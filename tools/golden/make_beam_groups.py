#!/usr/bin/env python3
"""Writes what transformers' diverse beam search makes of a V2 checkpoint, over random sizes.

    make_beam_groups.py CHECKPOINT OUT.json [--cases N] [--seed N]

Cases are those of make_beams.py, with groups and the penalty that keeps them apart. Needs torch and
transformers 4.55: later ones have no such search, earlier ones no DeepSeek V2. CHECKPOINT lies beside the
golden logits of a later transformers, which the network must meet.

A group that is done is continued with padding there, for which later groups are penalised. That is meant by
nobody, so only cases that another padding leaves as they are are written.
"""
import json
import math

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from make_beams import pick_options, pick_prompt, read_arguments, write_cases


def open_model(checkpoint):
    """4.55 reads neither the older name of the kind of scaling nor, in V2, its factor on the softmax."""
    scaling = json.loads((checkpoint / "config.json").read_text())["rope_scaling"]
    scaling["rope_type"] = scaling.pop("type")
    config = AutoConfig.from_pretrained(checkpoint, rope_scaling=scaling)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, config=config, attn_implementation="eager", torch_dtype=torch.float32).eval()
    for layer in model.model.layers:
        layer.self_attn.scaling *= (0.1 * scaling["mscale_all_dim"] * math.log(scaling["factor"]) + 1) ** 2
    golden = load_file(checkpoint / "golden.safetensors")
    for name in ("short", "long"):
        ids, logits = golden[f"{name}.input_ids"].long(), golden[f"{name}.logits"]
        assert (model(ids[None]).logits[0] - logits).abs().max() < 2e-4 * (logits.max() - logits.min()), "another network"
    model.generation_config = GenerationConfig()
    return model


def generate(model, prompt, options, pad):
    out = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False, output_scores=True, return_dict_in_generate=True, pad_token_id=pad, **options)
    ends = options["eos_token_id"]
    sequences = []
    for row in out.sequences[:, len(prompt):].tolist():
        end = next((i + 1 for i, token in enumerate(row) if token in ends), len(row))
        sequences.append(row[:end])
    return sequences, [round(x, 6) for x in out.sequences_scores.tolist()]


@torch.no_grad()
def main():
    args, pick = read_arguments(__doc__)
    model = open_model(args.checkpoint)
    vocab = model.config.vocab_size
    cases, n_odd = [], 0
    while len(cases) < args.cases:
        prompt = pick_prompt(pick, vocab)
        likely = model(torch.tensor([prompt])).logits[0, -1].topk(6).indices.tolist()
        groups = pick.choice([2, 2, 3, 4, 6])
        width = groups * pick.choice([1, 2, 2, 3])
        ends = pick.sample(likely + pick.sample(range(2, vocab), 6), pick.choice([1, 1, 2, 3]))
        options = {
            "num_beams": width,
            "num_beam_groups": groups,
            "diversity_penalty": pick.choice([0.1, 0.5, 1.0, 2.0, 10.0]),
            **pick_options(pick, width, ends),
        }
        sequences, scores = generate(model, prompt, options, pad=0)
        if generate(model, prompt, options, pad=1)[0] != sequences:
            n_odd += 1
            continue
        cases.append({"prompt": prompt, "options": options, "sequences": sequences, "scores": scores})
    print(f"{len(cases)} cases, {n_odd} left out")
    write_cases(args.out, cases)


if __name__ == "__main__":
    main()
