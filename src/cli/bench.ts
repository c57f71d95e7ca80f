/**
 * `hadal bench`: how fast a model runs here, and what part of the machine that is.
 * @module
 */
import { load } from "../load.ts";
import { ownCommand } from "../runtime.ts";
import { benchHelp, type BenchOptions, parseBenchArgs } from "./bench/options.ts";

/** @throws {Error} in one sentence, why it cannot be done */
export async function runBench(args: string[]): Promise<void> {
  const options = parseBenchArgs(args);
  if (options === null) return console.log(benchHelp);
  const { metrics } = options;
  if (metrics === null) return await sayOneToken(options);

  // Not before they are needed: a fresh process that says one token is measured as a user's would be.
  const { stopSignal } = await import("./stop_signal.ts");
  const stop = stopSignal();
  const { runBench } = await import("./bench/run.ts");
  const { readRecords } = await import("./bench/record.ts");
  const { tableHead, tableRow } = await import("./bench/table.ts");
  const old = options.compare === null ? null : readRecords(options.compare);
  const { isTTY } = process.stderr;
  const clear = () => isTTY && process.stderr.write("\r\x1b[K");
  let nRows = 0;
  const noted = new Set<string>();
  try {
    await runBench(
      { ...options, metrics },
      {
        record(record) {
          clear();
          if (options.isJson) return console.log(JSON.stringify(record));
          if (nRows++ === 0) {
            const { model, quant, cache, threads, kernels, runtime, when } = record;
            const all = threads === 1 ? "1 thread" : `${threads} threads`;
            const how = `${quant} weights, ${cache} cache, ${all}, ${kernels}, ${runtime}`;
            console.log(`${model}: ${how}, ${when.slice(0, 10)}\n\n${tableHead(old !== null)}`);
          }
          console.log(tableRow(record, old === null ? undefined : old.get(record.metric) ?? null));
          const before = old?.get(record.metric);
          for (const key of ["model", "quant", "threads"] as const) {
            if (before?.[key] === undefined || before[key] === record[key]) continue;
            const note = `NOTE: what is compared with was measured with ${key} ${before[key]}`;
            if (!noted.has(note)) console.error(note);
            noted.add(note);
          }
        },
        leftOut(sentence) {
          clear();
          console.error(sentence);
        },
        doing: (words) => isTTY && process.stderr.write(`\r\x1b[K${words} …`),
      },
      ownCommand(args.length),
      stop,
    );
  } catch (error) {
    clear();
    if (!stop.aborted) throw error;
    console.error("Stopped: what was not printed is not measured");
    process.exit(130);
  }
  clear();
}

/** For whoever takes the time of the whole process. */
async function sayOneToken({ model: source, weights, cacheDtype, threads }: BenchOptions): Promise<void> {
  const start = performance.now();
  const options = { weights, threads, contextLength: 64, maxSequences: 1, kvCache: { dtype: cacheDtype } };
  await using model = await load(source, options);
  // As long as "Hello" after a beginning of the text, which other engines are started with.
  const prompt = [101, 118].map((id) => id % model.info.vocabSize);
  await model.complete(prompt, { maxTokens: 1, temperature: 0, ignoreEos: true });
  console.log(JSON.stringify({ metric: "first", samples: [Math.round(performance.now() - start) / 1000] }));
}
