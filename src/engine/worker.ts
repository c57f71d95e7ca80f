/**
 * That side of the Worker border: opens the model, then runs the loop while there is work. A step is
 * never interrupted: messages come in between steps, once the bell has rung for them, and go out there. What
 * nobody waits for is done once it has been quiet for a while.
 * @module
 */
import type { VocabularyBytes } from "../grammar/vocabulary.ts";
import { Bell } from "./bell.ts";
import type { Engine, Report } from "./engine.ts";
import { type OpenEngine, openEngine } from "./open_engine.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";
import { otherSide } from "./thread.ts";
import { TokenOutbox } from "./token_outbox.ts";
import { toWire } from "./wire_error.ts";

const port = otherSide<ToWorker, FromWorker>();

/** Steps follow one another no longer than this before the runtime has its turn, whether the bell has rung or not. */
const turnMs = 100;

/** A request that follows the last one at once does not find an idle step under way. */
const quietMs = 100;

let opened: OpenEngine | null = null;
/** Rings for each message but the first. */
let bell = new Bell();
let isRunning = false;
let isClosing = false;
/** Rings when it has been quiet for long enough. */
let quiet: ReturnType<typeof setTimeout> | undefined;
const outbox = new TokenOutbox();

/** Messages arrive in the order of what they tell. */
function post(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  tellTokens();
  port.postMessage(message, transfer);
}

function tellTokens(): void {
  const tokens = outbox.take(performance.now());
  if (tokens !== null) port.postMessage({ type: "tokens", tokens });
}

const report: Report = {
  tokens: (tokens) => outbox.add(tokens),
  rows: (id, firstRow, values) => {
    const own = values.slice(); // what is transferred is lost here, and a backend may keep its memory
    post({ type: "rows", id, firstRow, values: own }, [own.buffer]);
  },
  prompt: (id, logprobs) => post({ type: "prompt", id, logprobs }),
  finished: (id, finish) => {
    outbox.forget(id);
    post({ type: "finished", id, finish });
  },
  failed: (id, error) => {
    outbox.forget(id);
    post({ type: "failed", id, error: toWire(error) });
  },
};

port.listen((message) => {
  if (message.type === "open") bell = new Bell(message.bell);
  else bell.answer();
  handle(message).catch(failWhole);
});

/** Something is being imported: who comes meanwhile waits, so that messages are handled in their order. */
let preparing: Promise<void> | null = null;

async function prepare(work: Promise<void>): Promise<void> {
  preparing = work;
  await work;
  if (preparing === work) preparing = null;
}

function failWhole(error: unknown): void {
  post({ type: "failed", id: null, error: toWire(error) });
}

async function handle(message: ToWorker): Promise<void> {
  if (message.type === "open") return await open(message);
  if (preparing !== null) await preparing;
  if (opened === null) throw new Error(`Cannot ${message.type}: the model is not open`);
  const { engine } = opened;
  switch (message.type) {
    case "draft":
      return prepare(draft(message.id, message.folder));
    case "vocabulary":
      return prepare(useVocabulary(engine, message.vocabulary));
    case "generate":
      return submit(message.id, () => {
        const { id, tokens, sampling, tenant } = message;
        engine.submit(id, tokens, { kind: "generate", sampling }, tenant);
      });
    case "logits":
    case "embed":
      return submit(message.id, () => engine.submit(message.id, message.tokens, { kind: message.type }));
    case "keep":
      return submit(
        message.id,
        () => engine.submit(message.id, message.tokens, { kind: "keep" }, message.tenant),
      );
    case "save":
    case "restore":
      return prepare(conversation(message));
    case "cancel":
      return engine.cancel(message.id);
    case "stats":
      return post({ type: "stats", id: message.id, stats: engine.stats() });
    case "close":
      isClosing = true;
      engine.drain();
      if (!message.drain) engine.cancelAll();
      return await run();
  }
}

/** Grammars are a sixth of what the Worker would have to import: it does when somebody wants one. */
async function useVocabulary(engine: Engine, vocabulary: VocabularyBytes): Promise<void> {
  const { Grammars } = await import("./grammars.ts");
  engine.useGrammars(new Grammars(vocabulary));
}

async function open({ options, abandoned }: ToWorker & { type: "open" }): Promise<void> {
  const flag = new Int32Array(abandoned);
  opened = await openEngine(options, report, (stage, done, total) => {
    if (Atomics.load(flag, 0) !== 0) throw new Error("Cannot open the model: the caller gave up");
    post({ type: "progress", stage, done, total });
  });
  post({ type: "opened", info: opened.info });
}

async function draft(id: number, folder: string): Promise<void> {
  try {
    await opened!.openDraft(folder);
    post({ type: "drafting", id });
  } catch (error) {
    report.failed(id, error);
  }
}

async function conversation(message: ToWorker & { type: "save" | "restore" }): Promise<void> {
  const { id, path, tenant } = message;
  const { engine, cacheKind } = opened!;
  try {
    const files = await import("./conversation_file.ts");
    const kind = await cacheKind();
    const found = message.type === "save"
      ? engine.saveConversation(files, path, message.tokens, tenant, kind, message.note)
      : engine.restoreConversation(files, path, tenant, kind);
    post({ type: "conversation", id, found });
  } catch (error) {
    report.failed(id, error);
  }
}

async function submit(id: number, accept: () => void): Promise<void> {
  try {
    accept();
  } catch (error) {
    report.failed(id, error);
    return;
  }
  await run();
}

/**
 * Steps until there is no work; only one of these loops is ever under way.
 * @param isQuiet whether to do what nobody waits for, too
 */
async function run(isQuiet = false): Promise<void> {
  if (isRunning || opened === null) return;
  isRunning = true;
  clearTimeout(quiet);
  const { engine } = opened;
  await betweenSteps(); // requests that came together start together
  for (let turnedMs = performance.now(); engine.hasWork || ((isQuiet || isClosing) && engine.hasIdleWork);) {
    if (engine.hasWork) {
      engine.step();
      isQuiet = false;
    } else engine.idleStep();
    const nowMs = performance.now();
    if (outbox.isDue(nowMs)) tellTokens();
    const isAwaited = bell.isRinging || preparing !== null || nowMs - turnedMs >= turnMs;
    if (engine.hasWork && !isAwaited) continue;
    await betweenSteps();
    turnedMs = performance.now();
  }
  isRunning = false;
  if (!isClosing) {
    if (engine.hasIdleWork) quiet = setTimeout(() => run(true).catch(failWhole), quietMs);
    return;
  }
  engine.storeAll();
  opened.close();
  opened = null;
  post({ type: "closed" });
}

/** Lets messages in. Costs 1 to 3 µs in Deno and Bun; setTimeout would cost a millisecond. */
function betweenSteps(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
