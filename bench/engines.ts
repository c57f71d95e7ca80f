/**
 * Engines as bench/peers.ts measures them: one sample of some metrics, in a process of its own. Metrics are those of
 * `hadal bench --help`; for llama.cpp and ik_llama.cpp they are put into the words of their own benches.
 * @module
 */
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import process from "node:process";
import { promisify } from "node:util";
import { batchPrompt, batchTokens, type Metric } from "../src/cli/bench/metrics.ts";
import { pathOf, runtime } from "../src/runtime.ts";

/** One figure of one metric, and the part of the machine's limit that it is, where the engine tells. */
export interface Sample {
  readonly metric: string;
  readonly value: number;
  readonly part?: number;
}

/** An engine with a model. */
export interface Engine {
  /** As tables name it. */
  readonly peer: string;
  readonly quant: string;
  /** Whether it has a bench for that. */
  canMeasure(metric: Metric): boolean;
  /** @throws {Error} its program failed, with the end of what it said */
  sample(metrics: readonly Metric[], threads: number): Promise<Sample[]>;
}

/**
 * hadal as this repository has it.
 * @param name "bun" or "deno": the runtime of this process, or another on the path
 * @param words for `hadal bench`, such as --kv-cache int8
 */
export function hadal(
  peer: string,
  name: string,
  model: string,
  quant: string,
  words: readonly string[],
): Engine {
  const script = pathOf(new URL("./model.ts", import.meta.url));
  const program = name === runtime.name ? process.execPath : name;
  const command = [program, ...(name === "deno" ? ["run", "-A", "--no-check"] : []), script];
  return {
    peer,
    quant,
    canMeasure: () => true,
    async sample(metrics, threads) {
      const names = metrics.map(({ name }) => name).join();
      const more = [
        "--model",
        model,
        "--metrics",
        names,
        "--reps",
        "1",
        "--threads",
        String(threads),
        ...words,
      ];
      const lines = (await output([...command, ...more])).split("\n").filter((line) => line.startsWith("{"));
      return lines.map((line) => JSON.parse(line)).map(({ metric, value, part }) => ({
        metric,
        value,
        part,
      }));
    },
  };
}

/** Where the programs of llama.cpp or its fork are, and what they are told. */
export interface LlamaBuild {
  readonly peer: string;
  readonly folder: string;
  /** For llama-bench. */
  readonly benchWords: readonly string[];
  /** For llama-batched-bench and the program that completes a text. */
  readonly words: readonly string[];
  /** How llama-bench is told to generate behind a depth. */
  readonly behind: (nTokens: number, depth: number) => readonly string[];
  /** The program that completes a text. */
  readonly completion: readonly string[];
  /** A llama-batched-bench that gives each sequence tokens of its own; its own gives all of them token 0. */
  readonly differentTexts?: string;
}

/** llama.cpp as it suggests itself: repacked weights, flash attention. */
export function llamaCpp(folder: string): LlamaBuild {
  return {
    peer: "llama.cpp",
    folder,
    benchWords: ["-fa", "on"],
    words: ["-fa", "on"],
    behind: (nTokens, depth) => ["-p", "0", "-n", String(nTokens), "-d", String(depth)],
    completion: ["llama-completion", "--no-warmup", "-no-cnv"],
  };
}

/** ik_llama.cpp with all that makes it fast: its attention over latents, fused experts, repacked weights. */
export function ikLlamaCpp(folder: string, differentTexts?: string): LlamaBuild {
  return {
    peer: "ik_llama.cpp",
    folder,
    benchWords: ["-fa", "1", "-mla", "3", "-fmoe", "1", "-rtr", "1"],
    words: ["-fa", "on", "-mla", "3", "-rtr"],
    behind: (nTokens, depth) => ["-p", "0", "-n", "0", "-gp", `${depth},${nTokens}`],
    completion: ["llama-cli", "--no-warmup"],
    differentTexts,
  };
}

/** llama.cpp or its fork with a GGUF file. */
export function llama(build: LlamaBuild, model: string, quant: string): Engine {
  const bench = async (threads: number, words: readonly string[]) => {
    const common = ["-m", model, "-t", String(threads), "-r", "1", "-o", "json", ...build.benchWords];
    const text = await output([`${build.folder}/llama-bench`, ...common, ...words], tmpdir());
    return JSON.parse(text.slice(text.indexOf("["))) as { avg_ts: number }[];
  };
  const batch = async (program: string, nSequences: number, threads: number) => {
    const room = (batchPrompt + batchTokens) * nSequences;
    const sizes = {
      c: Math.max(2048, room),
      b: 2048,
      ub: 512,
      npp: batchPrompt,
      ntg: batchTokens,
      npl: nSequences,
    };
    const words = Object.entries(sizes).flatMap(([name, size]) => [`-${name}`, String(size)]);
    const text = await output(
      [program, "-m", model, "-t", String(threads), ...words, ...build.words],
      tmpdir(),
    );
    // | prompt | generated | sequences | tokens in the cache | s | prompt tokens/s | s | generated tokens/s | …
    const row = text.split("\n").map((line) => line.split("|").map(Number))
      .find((cells) => cells[1] === batchPrompt && cells[2] === batchTokens);
    if (row === undefined) throw new Error(`Cannot measure ${program}: it printed no row of its table`);
    return row[8];
  };
  const measure = async (metric: Metric, threads: number): Promise<number> => {
    switch (metric.kind) {
      case "prefill":
        return (await bench(threads, ["-p", String(metric.nTokens), "-n", "0"])).at(-1)!.avg_ts;
      case "decode": {
        const { nTokens, depth } = metric;
        const words = depth === 0 ? ["-p", "0", "-n", String(nTokens)] : build.behind(nTokens, depth);
        return (await bench(threads, words)).at(-1)!.avg_ts;
      }
      case "batch": {
        const own = `${build.folder}/llama-batched-bench`;
        return await batch(
          metric.texts === "equal" ? own : build.differentTexts!,
          metric.nSequences,
          threads,
        );
      }
      default: {
        const [program, ...words] = [...build.completion, "-p", "Hello", "-n", "1", ...build.words];
        const start = performance.now();
        const common = ["-m", model, "-t", String(threads), "-c", "512"];
        await output([`${build.folder}/${program}`, ...common, ...words], tmpdir());
        return (performance.now() - start) / 1000;
      }
    }
  };
  return {
    peer: build.peer,
    quant,
    canMeasure: (metric) =>
      metric.kind === "prefill" || metric.kind === "decode" || metric.name === "cold" ||
      metric.kind === "batch" && (metric.texts === "equal" || build.differentTexts !== undefined),
    async sample(metrics, threads) {
      const samples: Sample[] = [];
      for (const metric of metrics) {
        samples.push({ metric: metric.name, value: await measure(metric, threads) });
      }
      return samples;
    },
  };
}

/**
 * @param cwd where it may leave its log
 * @returns what a program printed, its errors behind it: llama-batched-bench has its table there
 */
async function output([program, ...words]: readonly string[], cwd?: string): Promise<string> {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, words, { cwd, maxBuffer: 1 << 28 });
    return `${stdout}\n${stderr}`;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new Error(
      `Cannot measure ${program} ${words.join(" ")}: ${(stderr || message).trim().slice(-500)}`,
    );
  }
}
