#!/usr/bin/env python3
"""Codes a checkpoint of make_golden.py as another program would, and writes what the official network
(transformers) makes of the coded numbers.

    make_coded.py FOLDER OUT METHOD [KEY=VALUE ...]

METHOD and its keys, with their defaults:
    gptq   bits=4 group=32 sym=true order=false format="gptq"      order: act-order, groups are mixed
    awq    group=32
    ct     bits=4 group=32 sym=true order=false                    compressed-tensors, packed in words
    ct8    channel=true sym=true                                   compressed-tensors, int8
    ctfp8  channel=true                                            compressed-tensors, e4m3
    nf4    block=64 nested=true                                    bitsandbytes, 4 bits
    int8                                                           bitsandbytes, LLM.int8

Codes are written bit by bit and read back by unpackbits, from the tensors as they are stored. Matrices whose
shape a method cannot code stay as they are, as its tools do. Needs torch, transformers and safetensors.
"""
import argparse
import json
import pathlib
import re

import numpy as np
import torch
from safetensors.torch import load_file, save_file

MATRIX = re.compile(r"\.(self_attn\.\w+_proj(_with_mqa)?|mlp\.((shared_experts|experts\.\d+)\.)?(gate|up|down)_proj)\.weight$")
NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], np.float32)


def pack(codes, bits, axis):
    """Numbers along an axis, without gaps, low bits first, into words of 32."""
    codes = np.moveaxis(codes.astype(np.int64), axis, -1)
    planes = (codes[..., None] >> np.arange(bits)) & 1
    stream = planes.reshape(*codes.shape[:-1], -1)
    stream = np.concatenate([stream, np.zeros((*stream.shape[:-1], -stream.shape[-1] % 32), np.int64)], -1)
    words = (stream.reshape(*stream.shape[:-1], -1, 32) << np.arange(32)).sum(-1)
    return np.ascontiguousarray(np.moveaxis(words.astype(np.uint32).view(np.int32), -1, axis))


def unpack(words, bits, count, axis):
    """The way back, by bytes."""
    words = np.ascontiguousarray(np.moveaxis(words, axis, -1))
    stream = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")[..., : count * bits]
    weights = 1 << np.arange(bits)
    return np.moveaxis((stream.reshape(*stream.shape[:-1], count, bits) * weights).sum(-1), -1, axis)


def grouped(w, bits, group, sym, rng, order=False):
    """@returns codes (out, in), zeros and scales (out, groups), groups of inputs"""
    out, width = w.shape
    size = width if group == -1 else group
    index = np.arange(width) // size
    if order:
        index = index[rng.permutation(width)]
    n = -(-width // size)
    codes, zeros, scales = np.zeros(w.shape, np.int64), np.zeros((out, n), np.int64), np.zeros((out, n), np.float16)
    most = 2**bits - 1
    for g in range(n):
        part = w[:, index == g]
        if sym:
            scale = np.abs(part).max(1) / (2 ** (bits - 1) - 1)
            zero = np.full(out, 2 ** (bits - 1))
        else:
            low, high = np.minimum(part.min(1), 0), np.maximum(part.max(1), 0)
            scale = (high - low) / most
            zero = np.rint(-low / scale).astype(np.int64)
        scales[:, g] = scale
        zeros[:, g] = np.clip(zero, 0, most)
        exact = scales[:, g].astype(np.float32)[:, None]
        codes[:, index == g] = np.clip(np.rint(part / exact) + zeros[:, g, None], 0, most)
    return codes, zeros, scales, index.astype(np.int32)


def gptq(name, w, o, rng):
    bits, base = o["bits"], name.removesuffix(".weight")
    out, width = w.shape
    if width * bits % 32 or out * bits % 32:
        return None
    codes, zeros, scales, index = grouped(w, bits, o["group"], o["sym"], rng, o["order"])
    stored = (zeros - (o["format"] == "gptq")) % 2**bits
    parts = {f"{base}.qweight": pack(codes.T, bits, 0), f"{base}.qzeros": pack(stored.T, bits, 1),
             f"{base}.scales": scales.T.copy(), f"{base}.g_idx": index}
    zero = (unpack(parts[f"{base}.qzeros"], bits, out, 1) + (o["format"] == "gptq")) % 2**bits
    code = unpack(parts[f"{base}.qweight"], bits, width, 0)
    values = (code - zero[index]) * parts[f"{base}.scales"].astype(np.float32)[index]
    return parts, values.T


def awq(name, w, o, rng):
    base, (out, width) = name.removesuffix(".weight"), w.shape
    size = width if o["group"] == -1 else o["group"]
    if width % size or out % 8:
        return None
    codes, zeros, scales, index = grouped(w, 4, size, False, rng)
    places = [0, 2, 4, 6, 1, 3, 5, 7]
    shuffle = lambda x: x.reshape(x.shape[0], -1, 8)[:, :, places].reshape(x.shape)
    parts = {f"{base}.qweight": pack(shuffle(codes.T), 4, 1), f"{base}.qzeros": pack(shuffle(zeros.T), 4, 1),
             f"{base}.scales": scales.T.copy()}
    back = np.argsort(places)
    order = lambda x: unpack(x, 4, out, 1).reshape(x.shape[0], -1, 8)[:, :, back].reshape(x.shape[0], out)
    code, zero = order(parts[f"{base}.qweight"]), order(parts[f"{base}.qzeros"])
    return parts, ((code - zero[index]) * scales.T.astype(np.float32)[index]).T


def ct(name, w, o, rng):
    base, bits, (out, width) = name.removesuffix(".weight"), o["bits"], w.shape
    if o["group"] != -1 and width % o["group"]:
        return None
    codes, zeros, scales, index = grouped(w, bits, o["group"], o["sym"], rng, o["order"])
    scale = torch.from_numpy(scales.astype(np.float32)).to(torch.bfloat16)
    parts = {f"{base}.weight_packed": pack(codes, bits, 1), f"{base}.weight_scale": scale,
             f"{base}.weight_shape": np.array(w.shape, np.int64)}
    if not o["sym"]:
        parts[f"{base}.weight_zero_point"] = pack(zeros, bits, 0)
    if o["order"]:
        parts[f"{base}.weight_g_idx"] = index
    zero = zeros if o["sym"] else unpack(parts[f"{base}.weight_zero_point"], bits, out, 0)
    code = unpack(parts[f"{base}.weight_packed"], bits, width, 1)
    return parts, (code - zero[:, index]) * scale.float().numpy()[:, index]


def ct8(name, w, o, rng):
    codes, zeros, scales, _ = grouped(w, 8, -1, o["sym"], rng)
    scale = scales.astype(np.float32) if o["channel"] else np.full((1,), np.abs(w).max() / 127, np.float32)
    if not o["channel"]:
        codes, zeros = np.clip(np.rint(w / scale), -128, 127).astype(np.int64) + 128, np.full((len(w), 1), 128)
    parts = {name: (codes - 128).astype(np.int8), f"{name}_scale": scale}
    if not o["sym"]:
        parts[f"{name}_zero_point"] = (zeros - 128).astype(np.int8)
    return parts, (codes - zeros) * scale


def ctfp8(name, w, o, rng):
    w = torch.from_numpy(w)
    scale = w.abs().amax(1, keepdim=True) / 448 if o["channel"] else w.abs().max().reshape(1) / 448
    scale = scale.to(torch.bfloat16)
    codes = (w / scale.float()).to(torch.float8_e4m3fn)
    return {name: codes, f"{name}_scale": scale}, (codes.float() * scale.float()).numpy()


def nf4(name, w, o, rng):
    block, flat = o["block"], w.reshape(-1)
    padded = np.concatenate([flat, np.zeros(-len(flat) % block, np.float32)]).reshape(-1, block)
    absmax = np.abs(padded).max(1)
    state = {"quant_type": "nf4", "blocksize": block, "dtype": "bfloat16", "shape": list(w.shape)}
    parts = {f"{name}.quant_map": NF4.copy()}
    if o["nested"]:
        levels = np.sort(np.concatenate([-np.logspace(-6, 0, 127), [0], np.logspace(-6, 0, 128)])).astype(np.float32)
        offset, size = np.float32(absmax.mean()), 256
        rest = absmax - offset
        outer = np.array([np.abs(rest[i : i + size]).max() for i in range(0, len(rest), size)], np.float32)
        inner = np.abs(rest[:, None] / outer[np.arange(len(rest)) // size][:, None] - levels).argmin(1).astype(np.uint8)
        parts |= {f"{name}.absmax": inner, f"{name}.nested_absmax": outer, f"{name}.nested_quant_map": levels}
        state |= {"nested_blocksize": size, "nested_dtype": "float32", "nested_offset": float(offset)}
        absmax = levels[inner] * outer[np.arange(len(rest)) // size] + offset
    else:
        parts[f"{name}.absmax"] = absmax
    codes = np.abs(padded / np.maximum(absmax, 1e-9)[:, None] - NF4[:, None, None]).argmin(0).reshape(-1)[: len(flat)]
    even = np.concatenate([codes, np.zeros(len(codes) % 2, codes.dtype)]).reshape(-1, 2)
    parts[name] = (even[:, 0] << 4 | even[:, 1]).astype(np.uint8)[:, None]
    parts[f"{name}.quant_state.bitsandbytes__nf4"] = np.frombuffer(json.dumps(state).encode(), np.uint8).copy()
    halves = np.stack([parts[name][:, 0] >> 4, parts[name][:, 0] & 15], 1).reshape(-1)[: len(flat)]
    return parts, (NF4[halves] * np.repeat(absmax, block)[: len(flat)]).reshape(w.shape)


def int8(name, w, o, rng):
    most = np.abs(w).max(1)
    codes = np.rint(w / most[:, None] * 127).astype(np.int8)
    parts = {name: codes, name.replace(".weight", ".SCB"): most, name.replace(".weight", ".weight_format"): np.array(0, np.uint8)}
    return parts, codes * (most / np.float32(127))[:, None]


METHODS = {
    "gptq": (gptq, {"bits": 4, "group": 32, "sym": True, "order": False, "format": "gptq"}),
    "awq": (awq, {"group": 32}),
    "ct": (ct, {"bits": 4, "group": 32, "sym": True, "order": False}),
    "ct8": (ct8, {"channel": True, "sym": True}),
    "ctfp8": (ctfp8, {"channel": True}),
    "nf4": (nf4, {"block": 64, "nested": True}),
    "int8": (int8, {}),
}


def settings(method, o):
    if method == "gptq":
        return {"quant_method": "gptq", "bits": o["bits"], "group_size": o["group"], "sym": o["sym"],
                "desc_act": o["order"], "checkpoint_format": o["format"]}
    if method == "awq":
        return {"quant_method": "awq", "bits": 4, "group_size": o["group"], "version": "gemm", "zero_point": True}
    if method.startswith("ct"):
        format = {"ct": "pack-quantized", "ct8": "int-quantized", "ctfp8": "float-quantized"}[method]
        return {"quant_method": "compressed-tensors", "format": format}
    return {"quant_method": "bitsandbytes", "load_in_4bit": method == "nf4", "load_in_8bit": method == "int8"}


def code(source, out, method, changes):
    """@returns the network's tensors as f32, with the coded numbers"""
    make, defaults = METHODS[method]
    options, rng = defaults | changes, np.random.default_rng(1)
    tensors, stored, skipped = load_file(source / "model.safetensors"), {}, []
    for name, value in tensors.items():
        made = make(name, value.float().numpy(), options, rng) if MATRIX.search(name) else None
        if made is None:
            stored[name] = value
            skipped += [name] if MATRIX.search(name) else []
        else:
            stored |= {part: torch.from_numpy(x) if isinstance(x, np.ndarray) else x for part, x in made[0].items()}
            tensors[name] = torch.from_numpy(np.ascontiguousarray(made[1].astype(np.float32)))
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous().clone() for name, value in stored.items()}, out / "model.safetensors")
    config = json.loads((source / "config.json").read_text()) | {"quantization_config": settings(method, options)}
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return tensors, len(skipped)


@torch.no_grad()
def main():
    from make_golden import answers, network_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    changes = {k: json.loads(v) for k, v in (c.split("=", 1) for c in args.changes)}
    tensors, skipped = code(args.source, args.out, args.method, changes)
    print(f"{args.out}: {skipped} matrices stay as they are")
    answers(network_of(args.source, tensors), args.out, torch.Generator().manual_seed(2), 40, 16)


if __name__ == "__main__":
    main()
