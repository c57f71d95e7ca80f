/**
 * A file on a hub: what it is, and its bytes by ranges. A hub answers for what the file is (its hash
 * and size) and points to a server that sends it.
 * @module
 */
import { DownloadError } from "../../errors.ts";
import { shown } from "../../json_scanner.ts";
import { type Endpoint, type HubAnswer, refuse } from "./endpoint.ts";
import { blobNameOf } from "./names.ts";
import { FileChangedError, retrying, TransientError } from "./retry.ts";

/** The server sends the whole file whatever range it is asked for. */
export class RangesIgnoredError extends Error {
  override readonly name = "RangesIgnoredError";
}

/** Which file of a hub. */
export interface FileAddress {
  readonly id: string;
  readonly commit: string;
  readonly path: string;
}

/** A file whose hash and size the hub has told. */
export class RemoteFile {
  /** Path in the repository. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Hash of its content, see names.ts. */
  readonly blobName: string;
  /** ETag of the server that sends it, when it is a strong one: goes back as If-Range. */
  validator: string | null = null;
  readonly #endpoint: Endpoint;
  /** Where the hub has it, and where that led to, for as long as that works. */
  readonly #start: URL;
  #direct: URL | null = null;

  constructor(endpoint: Endpoint, start: URL, path: string, blobName: string, sizeBytes: number) {
    this.#endpoint = endpoint;
    this.#start = start;
    this.path = path;
    this.blobName = blobName;
    this.sizeBytes = sizeBytes;
  }

  /**
   * Bytes from `begin` to `end`, exactly those, in chunks.
   * @throws {TransientError} they did not all come; going on where they ended may bring the rest
   * @throws {FileChangedError} they are another file's
   * @throws {RangesIgnoredError | DownloadError}
   */
  async *read(begin: number, end: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const answer = await this.#ask({
      range: `bytes=${begin}-${end - 1}`,
      ...(this.validator === null ? {} : { "if-range": this.validator }),
    }, signal);
    const { status } = answer;
    if (status === 416) {
      await answer.discard();
      throw new FileChangedError(
        `bytes ${begin} to ${end} of ${this.sizeBytes} are not there, says ${answer.url.host}`,
      );
    }
    this.#checkValidator(answer);
    if (status === 200 && !(begin === 0 && end === this.sizeBytes)) {
      await answer.discard();
      const size = answer.headers.get("content-length");
      if (size !== null && Number(size) !== this.sizeBytes) {
        const kind = answer.headers.get("content-type") ?? "no type";
        throw new TransientError(
          `${answer.url.host} sends ${shown(size)} bytes of ${shown(kind)} in place of the file`,
        );
      }
      throw new RangesIgnoredError(`${answer.url.host} sends no parts of files`);
    }
    const range = status === 206 ? answer.headers.get("content-range") : null;
    if (status === 206 && range !== `bytes ${begin}-${end - 1}/${this.sizeBytes}`) {
      await answer.discard();
      const [, total] = /\/(\d+)$/.exec(range ?? "") ?? [];
      if (total !== undefined && Number(total) !== this.sizeBytes) {
        throw new FileChangedError(`it has ${total} bytes, the hub said ${this.sizeBytes}`);
      }
      throw new TransientError(`bytes ${begin}-${end - 1} were asked for, ${shown(range ?? "others")} came`);
    }
    yield* exactly(answer, end - begin);
  }

  /** The whole file from its start on, for a server that sends no parts. */
  async *readWhole(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const answer = await this.#ask({}, signal);
    this.#checkValidator(answer);
    yield* exactly(answer, this.sizeBytes);
  }

  async #ask(headers: Record<string, string>, signal: AbortSignal): Promise<HubAnswer> {
    const isDirect = this.#direct !== null;
    const answer = await this.#endpoint.request(this.#direct ?? this.#start, { headers, signal });
    const { status } = answer;
    if (status === 200 || status === 206 || status === 416) {
      this.#direct = answer.url;
      return answer;
    }
    await answer.discard();
    this.#direct = null;
    // Signed URLs of a store end after a while: the hub gives a new one.
    if (isDirect && status >= 400 && status < 500 && status !== 429) {
      throw new TransientError(`${answer.url.host} answers ${status}`, { retryAfterMs: 0, status });
    }
    return refuse(answer, this.path);
  }

  #checkValidator({ headers }: HubAnswer): void {
    const etag = headers.get("etag");
    if (etag === null || etag.startsWith("W/")) return;
    if (this.validator !== null && etag !== this.validator) {
      throw new FileChangedError(`its ETag was ${shown(this.validator)} and is ${shown(etag)}`);
    }
    this.validator = etag;
  }
}

/** @throws {TransientError} more or fewer bytes come */
async function* exactly(answer: HubAnswer, sizeBytes: number): AsyncGenerator<Uint8Array> {
  const coding = answer.headers.get("content-encoding") ?? "identity";
  if (coding !== "identity") {
    await answer.discard();
    throw new TransientError(`${answer.url.host} sends it in ${shown(coding)}, which was not asked for`);
  }
  const claimed = answer.headers.get("content-length");
  if (claimed !== null && Number(claimed) !== sizeBytes) {
    await answer.discard();
    throw new TransientError(
      `${answer.url.host} announces ${shown(claimed)} bytes, ${sizeBytes} were asked for`,
    );
  }
  let done = 0;
  for await (const chunk of answer.chunks()) {
    const wanted = chunk.subarray(0, sizeBytes - done);
    done += wanted.length;
    if (wanted.length > 0) yield wanted;
    if (wanted.length < chunk.length) {
      throw new TransientError(`${answer.url.host} sends more than ${sizeBytes} bytes`);
    }
  }
  if (done < sizeBytes) {
    throw new TransientError(`${answer.url.host} ended after ${done} of ${sizeBytes} bytes`);
  }
}

/**
 * Asks the hub what a file is.
 * @throws {DownloadError} it is not there, or the hub does not say what is needed to verify it
 */
export function findFile(
  endpoint: Endpoint,
  { id, commit, path }: FileAddress,
  signal: AbortSignal,
): Promise<RemoteFile> {
  const start = endpoint.file(id, commit, path);
  const what = `${path} of ${id}`;
  return retrying(endpoint.patience, signal, async () => {
    // The hub itself speaks of the file before it points to a server that knows less.
    const isTold = (redirect: HubAnswer) => redirect.headers.has("x-linked-etag");
    const answer = await endpoint.request(start, { method: "HEAD", signal }, isTold);
    const { status, headers, url } = answer;
    await answer.discard();
    if (status >= 400) refuse(answer, what);
    const blobName = blobNameOf(headers.get("x-linked-etag") ?? headers.get("etag") ?? "");
    const size = headers.get("x-linked-size") ?? headers.get("content-length") ?? "";
    if (blobName === null || !/^\d{1,15}$/.test(size)) {
      const isPage = headers.get("content-type")?.startsWith("text/html");
      const found = isPage
        ? "a web page is there"
        : `found ETag ${shown(headers.get("etag") ?? "none")}, ${size || "no"} bytes`;
      throw new DownloadError(
        `Cannot fetch ${what}: ${url.host} tells no hash and size of it, ${found}`,
        status,
      );
    }
    const commitThere = headers.get("x-repo-commit");
    if (commitThere !== null && commitThere !== commit) {
      throw new DownloadError(
        `Cannot fetch ${what}: commit ${commit} was asked for, ${shown(commitThere)} came`,
      );
    }
    return new RemoteFile(endpoint, start, path, blobName, Number(size));
  });
}
