/**
 * How many numbers a network has, from its configuration alone.
 * @module
 */
import { hasExperts, type ModelConfig } from "./config.ts";

/** Parameters of the main network: all of them, and those that one token uses. */
export function countParameters(config: ModelConfig): { total: number; active: number } {
  const { hidden, vocabSize, nLayers, qLoraRank, intermediate, moeIntermediate, nSharedExperts, routing } =
    config;
  const { nHeads, qkNopeHeadDim, qkRopeHeadDim, vHeadDim, kvLoraRank } = config.attention;
  const queryWidth = nHeads * (qkNopeHeadDim + qkRopeHeadDim);
  const query = qLoraRank ? qLoraRank * (hidden + queryWidth + 1) : hidden * queryWidth;
  const attention = query + (kvLoraRank + qkRopeHeadDim) * hidden + kvLoraRank +
    nHeads * (qkNopeHeadDim + vHeadDim) * kvLoraRank + hidden * nHeads * vHeadDim;
  const expert = 3 * hidden * moeIntermediate;
  let total = 0, active = 0;
  for (let layer = 0; layer < nLayers; layer++) {
    const always = attention + 2 * hidden;
    if (routing && hasExperts(config, layer)) {
      const router = routing.nExperts * (hidden + (config.routerBias ? 1 : 0));
      total += always + router + expert * (routing.nExperts + nSharedExperts);
      active += always + router + expert * (routing.nExpertsPerToken + nSharedExperts);
    } else {
      total += always + 3 * hidden * intermediate;
      active += always + 3 * hidden * intermediate;
    }
  }
  const ends = hidden + vocabSize * hidden; // final norm and head; of the embedding a token reads one row
  return { total: total + ends + (config.tiedEmbedding ? 0 : vocabSize * hidden), active: active + ends };
}
