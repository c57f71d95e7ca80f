/**
 * Server-sent events as the APIs stream them.
 * @module
 */
import { setInterval } from "node:timers";
import { apiError } from "./errors.ts";

/** How an API words its events. */
export interface EventForm {
  /** The lines of an event. */
  event(value: unknown): string;
  /** The lines that tell of a failure. */
  error(thrown: unknown): string;
  /** The last lines, or null. */
  readonly end: string | null;
}

/** As chat and text completions are streamed: `data: JSON`, at the end `data: [DONE]`. A text is JSON already. */
const completionEvents: EventForm = {
  event: (value) => `data: ${typeof value === "string" ? value : JSON.stringify(value)}`,
  error: (thrown) => `data: ${JSON.stringify(apiError(thrown).body)}`,
  end: "data: [DONE]",
};

/** Events that name their type, as the newer APIs have them; `error` makes the event of a failure. */
export function typedEvents(error: (thrown: unknown) => { readonly type: string }): EventForm {
  const event = (value: { readonly type: string }) => `event: ${value.type}\ndata: ${JSON.stringify(value)}`;
  return {
    event: (value) => event(value as { type: string }),
    error: (thrown) => event(error(thrown)),
    end: null,
  };
}

const encoder = new TextEncoder();

/** Options of {@linkcode eventStream}. */
export interface EventStreamOptions {
  /** Those of chat and text completions by default. */
  readonly form?: EventForm;
  /** A stream that is quiet for so long sends a comment: Bun closes a response that is quiet for 10 s. */
  readonly keepAliveMs?: number;
}

/**
 * Answers with a stream of events. It waits for the first one, so that a request that fails at once still
 * gets a status of its own, but no longer than `keepAliveMs`. Events are taken as the client reads them, and
 * those that are there together are one piece: to write one costs the system more than all that came before.
 * @param batches events that came together
 * @param cancel called when the client goes away (a generator's own `return` would wait for its next
 *   event), and when the events fail
 */
export async function eventStream(
  batches: AsyncIterable<readonly unknown[]>,
  cancel: () => void,
  { form = completionEvents, keepAliveMs = 5000 }: EventStreamOptions = {},
): Promise<Response> {
  const iterator = batches[Symbol.asyncIterator]();
  let next = iterator.next();
  let whenQuiet: () => void;
  const quiet = setInterval(() => whenQuiet(), keepAliveMs);
  try {
    await Promise.race([next, new Promise<void>((resolve) => whenQuiet = resolve)]);
  } catch (error) {
    clearInterval(quiet);
    cancel();
    throw error;
  }

  let isGone = false; // then nothing can be sent, and nothing is wrong
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      whenQuiet = () => controller.desiredSize! > 0 && controller.enqueue(encoder.encode(": keep-alive\n\n"));
    },
    async pull(controller) {
      const send = (lines: readonly string[]) => {
        if (isGone || lines.length === 0) return isGone;
        controller.enqueue(encoder.encode(lines.join("\n\n") + "\n\n"));
        quiet.refresh();
        return true;
      };
      const end = (...lines: string[]) => {
        send(form.end === null ? lines : [...lines, form.end]);
        clearInterval(quiet);
        if (!isGone) controller.close();
      };
      try {
        while (true) {
          const { done, value } = await next;
          if (done) return end();
          next = iterator.next();
          next.catch(() => {}); // read by the next pull, if there is one
          if (send(value.map((event) => form.event(event)))) return; // a batch may be empty
        }
      } catch (error) {
        cancel();
        end(form.error(error));
      }
    },
    cancel() {
      isGone = true;
      clearInterval(quiet);
      cancel();
    },
  });
  const headers = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" };
  return new Response(body, { headers });
}

/**
 * The items of a stream once the first is there, or the end: what fails at once then fails before anything
 * was said of it.
 */
export async function begun<T>(stream: AsyncIterable<T>): Promise<AsyncIterable<T>> {
  const iterator = stream[Symbol.asyncIterator]();
  const first = await iterator.next();
  return (async function* () {
    if (first.done) return;
    yield first.value;
    yield* { [Symbol.asyncIterator]: () => iterator };
  })();
}
