/**
 * From tensor names of Hugging Face checkpoints to a network on a device. The names are known here
 * and nowhere else, and so are the shapes that each must have.
 * @module
 */
import type { Backend, Weight } from "../backend/backend.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { WeightFormat } from "../tensor/dtype.ts";
import { isPackedFormat } from "../tensor/packed_format.ts";
import type { AttentionWeights } from "./attention.ts";
import { hasExperts, type ModelConfig } from "./config.ts";
import type { FeedForwardWeights } from "./feed_forward.ts";
import type { LayerWeights } from "./layer.ts";
import type { MtpWeights } from "./mtp.ts";
import { Network, type NetworkWeights } from "./network.ts";
import { type LoadWeightsOptions, type WeightLoader, WeightSource } from "./weight_source.ts";

/** The embedding, and the output head that takes another matrix than the embedding. */
export const embeddingName = "model.embed_tokens", headName = "lm_head";

/** @returns the layer that a tensor belongs to, or null */
export function layerOf(tensorName: string): number | null {
  const [, layer] = /^model\.layers\.(\d{1,9})\./.exec(tensorName) ?? [];
  return layer === undefined ? null : Number(layer);
}

/**
 * Puts a checkpoint's weights on a device. Nothing is copied where the device reads the stored format.
 * @param format "auto" keeps each matrix as it is stored
 * @throws {CheckpointError} for a tensor that is missing, or of another shape than config.json says
 */
export function loadNetwork(
  checkpoint: Checkpoint,
  config: ModelConfig,
  backend: Backend,
  format: "auto" | WeightFormat = "auto",
  options: LoadWeightsOptions = {},
): Network {
  return new Network(config, loadWeights(checkpoint, config, backend, format, options), backend);
}

/** {@link loadNetwork}, for any taker of weights: one who only looks learns what is made of each matrix. */
export function loadWeights(
  checkpoint: Checkpoint,
  config: ModelConfig,
  loader: WeightLoader,
  format: "auto" | WeightFormat,
  options: LoadWeightsOptions = {},
): NetworkWeights {
  const source = new WeightSource(checkpoint, config, loader, format, options);
  const { hidden, vocabSize, nLayers } = config;
  const embedding = source.matrix(embeddingName, vocabSize, hidden, "auto");
  const layers = Array.from({ length: nLayers }, (_, layer) => loadLayer(source, layer));
  const finalNorm = source.vector("model.norm.weight", hidden);
  const head = config.tiedEmbedding && !isPackedFormat(format)
    ? embedding
    : source.matrix(config.tiedEmbedding ? embeddingName : headName, vocabSize, hidden, headFormat(format));
  const mtp = options.mtp && hasMtp(checkpoint, config) ? loadMtp(source, embedding, head, format) : null;
  return { embedding, layers, finalNorm, head, mtp };
}

/** Whether a checkpoint holds the layer for multi-token prediction: many name it and leave it out. */
export function hasMtp(
  { tensors, coded }: Pick<Checkpoint, "tensors" | "coded">,
  config: ModelConfig,
): boolean {
  const name = `model.layers.${config.nLayers}.eh_proj.weight`;
  return config.nMtpLayers > 0 && (tensors.has(name) || coded?.has(name) === true);
}

/** In fp8 the head stays as it is stored: DeepSeek's own files have it so, and others read no other. */
function headFormat(format: "auto" | WeightFormat): "auto" | WeightFormat {
  return format === "fp8" ? "auto" : format;
}

function loadLayer(source: WeightSource, layer: number): LayerWeights {
  const { config } = source;
  const prefix = `model.layers.${layer}`;
  return {
    attentionNorm: source.vector(`${prefix}.input_layernorm.weight`, config.hidden),
    attention: loadAttention(source, `${prefix}.self_attn`),
    feedForwardNorm: source.vector(`${prefix}.post_attention_layernorm.weight`, config.hidden),
    feedForward: hasExperts(config, layer)
      ? loadMoe(source, `${prefix}.mlp`)
      : { dense: source.experts([`${prefix}.mlp`], config.intermediate) },
  };
}

/** Files may have its embedding again, which is the network's, and a head, which is its own then. */
function loadMtp(
  source: WeightSource,
  embedding: Weight,
  head: Weight,
  format: "auto" | WeightFormat,
): MtpWeights {
  const { hidden, vocabSize, nLayers } = source.config;
  const prefix = `model.layers.${nLayers}`;
  return {
    embedding,
    embeddingNorm: source.vector(`${prefix}.enorm.weight`, hidden),
    hiddenNorm: source.vector(`${prefix}.hnorm.weight`, hidden),
    // As the head, DeepSeek's own files never have it in fp8.
    join: source.matrix(`${prefix}.eh_proj`, hidden, 2 * hidden, headFormat(format)),
    layer: loadLayer(source, nLayers),
    finalNorm: source.vector(`${prefix}.shared_head.norm.weight`, hidden),
    head: source.has(`${prefix}.shared_head.head`)
      ? source.matrix(`${prefix}.shared_head.head`, vocabSize, hidden, headFormat(format))
      : head,
  };
}

function loadAttention(source: WeightSource, prefix: string): AttentionWeights {
  const { hidden, qLoraRank, attention } = source.config;
  const { nHeads, qkNopeHeadDim, qkRopeHeadDim, vHeadDim, kvLoraRank } = attention;
  const queryWidth = nHeads * (qkNopeHeadDim + qkRopeHeadDim);
  return {
    query: qLoraRank === null ? { full: source.matrix(`${prefix}.q_proj`, queryWidth, hidden) } : {
      down: source.matrix(`${prefix}.q_a_proj`, qLoraRank, hidden),
      norm: source.vector(`${prefix}.q_a_layernorm.weight`, qLoraRank),
      up: source.matrix(`${prefix}.q_b_proj`, queryWidth, qLoraRank),
    },
    kvDown: source.matrix(`${prefix}.kv_a_proj_with_mqa`, kvLoraRank + qkRopeHeadDim, hidden),
    kvNorm: source.vector(`${prefix}.kv_a_layernorm.weight`, kvLoraRank),
    kvUp: source.matrix(`${prefix}.kv_b_proj`, nHeads * (qkNopeHeadDim + vHeadDim), kvLoraRank),
    output: source.matrix(`${prefix}.o_proj`, hidden, nHeads * vHeadDim),
  };
}

function loadMoe(source: WeightSource, prefix: string): FeedForwardWeights {
  const { hidden, moeIntermediate, nSharedExperts, routerBias } = source.config;
  const routing = source.config.routing!;
  const names = Array.from({ length: routing.nExperts }, (_, expert) => `${prefix}.experts.${expert}`);
  return {
    gate: source.router(`${prefix}.gate`, routing.nExperts, hidden),
    bias: routerBias ? source.vector(`${prefix}.gate.e_score_correction_bias`, routing.nExperts) : null,
    routed: source.experts(names, moeIntermediate),
    shared: nSharedExperts === 0
      ? null
      : source.experts([`${prefix}.shared_experts`], nSharedExperts * moeIntermediate),
    routing,
  };
}
