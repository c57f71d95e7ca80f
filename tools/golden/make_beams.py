#!/usr/bin/env python3
"""Writes what transformers' beam search makes of a checkpoint, over random sizes.

    make_beams.py CHECKPOINT OUT.json [--cases N] [--seed N]

Each case holds the options of generate, the prompt, the sequences of new tokens (with the token that ended
them, without padding) and their scores. Tokens that end replies are chosen among likely ones, so that many end
early. Needs torch and transformers.
"""
import argparse
import json
import pathlib
import random

import torch
from transformers import AutoModelForCausalLM, GenerationConfig


def read_arguments(description):
    """The command line, and a source of chance that its seed fixes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    return args, random.Random(args.seed)


def pick_prompt(pick, vocab):
    return [pick.randrange(2, vocab) for _ in range(pick.choice([1, 5, 12, 63, 64, 70]))]


def pick_options(pick, width, ends):
    """What any search may be asked for, its width and the tokens that end a reply given."""
    options = {
        "num_return_sequences": pick.randint(1, width),
        "max_new_tokens": pick.choice([1, 4, 9, 16, 20]),
        "eos_token_id": ends,
        "length_penalty": pick.choice([1.0, 1.0, 0.0, 2.0, 0.5, -1.0, -0.3]),
        "early_stopping": pick.choice([False, False, True, "never"]),
    }
    if pick.random() < 0.25:
        options["repetition_penalty"] = pick.choice([0.8, 1.3])
    if pick.random() < 0.25:
        options["min_new_tokens"] = min(pick.choice([2, 5]), options["max_new_tokens"])
    return options


def write_cases(out, cases):
    out.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


@torch.no_grad()
def main():
    args, pick = read_arguments(__doc__)
    model = AutoModelForCausalLM.from_pretrained(args.checkpoint, attn_implementation="eager", dtype=torch.float32).eval()
    model.generation_config = GenerationConfig()
    vocab = model.config.vocab_size
    cases = []
    for _ in range(args.cases):
        prompt = pick_prompt(pick, vocab)
        ids = torch.tensor([prompt])
        likely = model(ids).logits[0, -1].topk(6).indices.tolist()
        greedy = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)[0, len(prompt):].tolist()
        ends = pick.sample(sorted(set(likely + greedy)), pick.choice([1, 1, 2, 3]))
        width = pick.choice([2, 3, 4, 5, 6, 8, 12])
        options = {"num_beams": width, **pick_options(pick, width, ends)}
        out = model.generate(ids, do_sample=False, output_scores=True, return_dict_in_generate=True, pad_token_id=0, **options)
        sequences = []
        for row, beams in zip(out.sequences[:, len(prompt):].tolist(), out.beam_indices.tolist()):
            sequences.append([token for token, beam in zip(row, beams) if beam >= 0])
        cases.append({"prompt": prompt, "options": options, "sequences": sequences, "scores": [round(x, 6) for x in out.sequences_scores.tolist()]})
    write_cases(args.out, cases)


if __name__ == "__main__":
    main()
