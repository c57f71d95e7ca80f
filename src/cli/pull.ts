/**
 * `hadal pull`: brings a model from a hub into the cache.
 * @module
 */
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { removeDamaged } from "../checkpoint/hub/damaged.ts";
import { parseHubSource } from "../checkpoint/hub/names.ts";
import type { DownloadProgress } from "../checkpoint/hub/progress.ts";
import { pull } from "../checkpoint/hub/pull.ts";
import { hubSettings } from "../hub_settings.ts";
import { stopSignal } from "./stop_signal.ts";

const help = `Fetches a model into the cache that Python's clients use too, and prints its folder or GGUF file

  hadal pull MODEL [--revision NAME] [--include PATTERN]… [--exclude PATTERN]…

  MODEL              as the hub names it: deepseek-ai/DeepSeek-V2-Lite-Chat; of several GGUF models
                     under one name owner/name:Q4_K_M and owner/name/path/file.gguf take one
  --revision NAME    branch, tag or commit; main by default
  --include PATTERN  files to fetch, such as "*.gguf", instead of those that the model needs:
                     configuration, tokenizer, weights
  --exclude PATTERN  files not to fetch
  --connections N    at once, 1 to 64; 8 by default
  --verify           read all files again, and fetch those anew that are damaged
  --offline          ask nobody: only say where the cache has the model
  --help             this text

  HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE mean what they mean there.
  What was fetched when it is stopped stays, and the next time goes on from there.`;

/** @throws {Error} in one sentence, why it cannot be done */
export async function runPull(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      revision: { type: "string" },
      include: { type: "string", multiple: true },
      exclude: { type: "string", multiple: true },
      connections: { type: "string", default: "8" },
      offline: { type: "boolean" },
      verify: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) return console.log(help);
  if (positionals.length !== 1) {
    throw new Error(`pull: ${positionals.length} models were given, one is needed`);
  }
  const connections = Number(values.connections);
  if (!/^\d+$/.test(values.connections) || connections < 1 || connections > 64) {
    throw new Error(`--connections: ${values.connections} was given, a number from 1 to 64 is needed`);
  }
  const { id, gguf } = parseHubSource(positionals[0]) ?? { id: positionals[0], gguf: "" }; // which is then refused
  const stop = stopSignal();
  const line = new ProgressLine();
  try {
    const fetchAll = () =>
      pull(id, hubSettings({ offline: values.offline }), {
        revision: values.revision,
        patterns: { include: values.include ?? [], exclude: values.exclude ?? [], gguf },
        connections,
        signal: stop,
        onProgress: (progress) => line.show(progress),
      });
    let { folder, paths } = await fetchAll();
    if (values.verify) {
      const { removed, unknown } = await removeDamaged(folder, paths, stop);
      if (removed.length > 0) {
        line.end();
        console.error(`Damaged, and fetched anew: ${removed.join(", ")}`);
        ({ folder, paths } = await fetchAll());
      }
      if (unknown > 0) console.error(`${unknown} files are copies, which have no hash to be held against`);
    }
    line.end();
    // Beside other models a folder does not say which one was meant.
    console.log(gguf === "" ? folder : join(folder, paths[0]));
  } catch (error) {
    line.end();
    if (!stop.aborted) throw error;
    console.error("Stopped: what was fetched stays, the same command goes on from there");
    process.exit(130);
  }
}

/** In a terminal one line that is written over, elsewhere a line now and then, and one at the end. */
class ProgressLine {
  #shownMs = performance.now();
  /** Not shown yet, or in a line without an end. */
  #last: DownloadProgress | null = null;

  show(progress: DownloadProgress): void {
    this.#last = progress;
    const isTerminal = process.stderr.isTTY;
    const now = performance.now();
    if (now - this.#shownMs < (isTerminal ? 100 : 5_000)) return;
    this.#shownMs = now;
    if (isTerminal) return void process.stderr.write(`\r\x1b[K${describe(progress)}`);
    process.stderr.write(`${describe(progress)}\n`);
    this.#last = null;
  }

  end(): void {
    const start = process.stderr.isTTY ? "\r\x1b[K" : "";
    if (this.#last !== null) process.stderr.write(`${start}${describe(this.#last)}\n`);
    this.#last = null;
  }
}

/** @returns such as "3 of 7 files, 1.2 of 31.4 GB, 85 MB/s, 6 min left" */
function describe(progress: DownloadProgress): string {
  const { filesDone, files, doneBytes, totalBytes, bytesPerSecond, secondsLeft, waitingFor } = progress;
  const [unit, size] = totalBytes >= 1e9 ? ["GB", 1e9] : ["MB", 1e6];
  const amount = (bytes: number) => (bytes / size).toFixed(1);
  const words = [`${filesDone} of ${files} files`, `${amount(doneBytes)} of ${amount(totalBytes)} ${unit}`];
  if (filesDone < files) {
    words.push(`${(bytesPerSecond / 1e6).toFixed(1)} MB/s`);
    if (secondsLeft !== null) words.push(`${duration(secondsLeft)} left`);
    if (waitingFor !== null) words.push(`another process is fetching ${waitingFor}`);
  }
  return words.join(", ");
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
