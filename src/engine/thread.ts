/**
 * The thread behind an engine, as both sides see it: a Worker of the web where a program may end without ending
 * it, else one of `node:worker_threads`. The former starts in a quarter of the time in Bun, in half of it in Deno.
 * @module
 */
/** Who is told what a thread says, and how it ends by itself. */
export interface ThreadListener<M> {
  message(message: M): void;
  /** @param how it ended: the rest of a sentence about it */
  death(how: string): void;
}

/** A thread that runs a module. */
export interface Thread<M> {
  /** Takes the place of whoever was told before. */
  listen(listener: ThreadListener<M>): void;
  postMessage(message: unknown): void;
  /** From now on the program does not end before it. */
  ref(): void;
  /** From now on it does. */
  unref(): void;
  /** Ends it; nobody is told anything any more. */
  end(): void;
}

/** @param module runs in the thread, and finds messages as events of its global scope */
export function startThread<M>(module: URL): Thread<M> {
  let listener: ThreadListener<M> | null = null;
  const told = {
    message: (message: M) => listener?.message(message),
    failed: (message: string) => listener?.death(`failed: ${message}`),
    ended: (code: unknown) => listener?.death(`ended (${code})`),
  };
  const hold = globalThis.Worker && holderOf(Worker.prototype as unknown as Leavable);
  const worker = hold ? startWeb(module, told, hold) : startNode(module, told);
  return {
    listen: (next) => void (listener = next),
    postMessage: (message) => worker.postMessage(message),
    ref: () => worker.ref(),
    unref: () => worker.unref(),
    end() {
      listener = null;
      void worker.terminate();
    },
  };
}

/** A Worker of the web that a program can leave behind; how is no part of the standard. */
interface Leavable {
  ref?(): void;
  unref?(): void;
  readonly [method: symbol]: unknown;
}

/** Says whether a Worker holds up the end of the program, as it does at first; only ever the other way round. */
type Hold = (worker: Leavable, isHeld: boolean) => void;

/**
 * @returns null where a program would have to close its models before it can end. Deno keeps the method for its own
 *   `node:worker_threads`, behind a symbol that has no name: it is known by what it does, or not used
 */
function holderOf(prototype: Leavable): Hold | null {
  if ("unref" in prototype) return (worker, isHeld) => isHeld ? worker.ref?.() : worker.unref?.();
  for (const symbol of Object.getOwnPropertySymbols(prototype)) {
    const method = prototype[symbol];
    if (typeof method !== "function" || method.length !== 1) continue;
    if (/\bunrefOpPromise\b[^]*\brefOpPromise\b/.test(String(method))) {
      return (worker, isHeld) => method.call(worker, isHeld);
    }
  }
  return null;
}

interface Told<M> {
  message(message: M): void;
  failed(message: string): void;
  ended(code: unknown): void;
}

function startWeb<M>(module: URL, { message, failed, ended }: Told<M>, hold: Hold) {
  const worker = new Worker(module, { type: "module" });
  let isHeld = true;
  const set = (wanted: boolean) => {
    if (wanted !== isHeld) hold(worker as unknown as Leavable, isHeld = wanted);
  };
  worker.addEventListener("message", (event) => message(event.data));
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    // Lines of the source stand around what was thrown.
    failed(
      /^(?:Uncaught )?(?:\(in promise\) )?\w*[Ee]rror: (.*)$/m.exec(event.message)?.[1] ?? event.message,
    );
  });
  worker.addEventListener("close", (event) => ended((event as CloseEvent).code));
  return {
    postMessage: (message: unknown) => worker.postMessage(message),
    ref: () => set(true),
    unref: () => set(false),
    terminate: () => worker.terminate(),
  };
}

function startNode<M>(module: URL, { message, failed, ended }: Told<M>) {
  const { SHARE_ENV, Worker } = process.getBuiltinModule("node:worker_threads");
  // It starts from files alone: a module on a server is imported by one that is written here.
  const code = `import ${JSON.stringify(module.href)};`;
  const start = module.protocol === "file:"
    ? module
    : new URL(`data:text/javascript,${encodeURIComponent(code)}`);
  const worker = new Worker(start, { env: SHARE_ENV } as object); // a copy takes longer, and asks for all variables
  worker.on("message", message);
  worker.on("error", (error) => failed((error as Error).message));
  worker.on("exit", ended);
  return worker;
}

/** Whoever started the thread that this runs in. */
export interface OtherSide<In, Out> {
  listen(listener: (message: In) => void): void;
  postMessage(message: Out, transfer?: ArrayBuffer[]): void;
}

/** What the global scope of a Worker has, of both kinds in Deno and in Bun. */
interface WorkerScope {
  postMessage?(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
}

/** @throws {Error} this is no such thread */
export function otherSide<In, Out>(): OtherSide<In, Out> {
  const scope = globalThis as unknown as WorkerScope;
  const { postMessage } = scope;
  if (postMessage !== undefined) {
    return {
      listen: (listener) => scope.addEventListener("message", ({ data }) => listener(data)),
      postMessage: (message, transfer = []) => postMessage.call(scope, message, transfer),
    };
  }
  const { parentPort } = process.getBuiltinModule("node:worker_threads"); // Node's is not in its scope
  if (parentPort === null) {
    throw new Error("Cannot start: this module is a Worker's, import client.ts instead");
  }
  return {
    listen: (listener) => void parentPort.on("message", listener),
    postMessage: (message, transfer = []) => parentPort.postMessage(message, transfer),
  };
}
