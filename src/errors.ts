/**
 * The errors that a caller may want to tell apart. A caller's plain mistake (a wrong type, a value
 * out of range) throws the built-in that fits; these exist because someone acts on each of them.
 * @module
 */

/** A request that can never succeed as it stands; the server answers it with `status` (a 4xx). */
export class RequestError extends Error {
  /** The name of this class. */
  override readonly name = "RequestError";
  /** HTTP status: 400 unless another 4xx says more. */
  readonly status: number;
  /** The field at fault, in the JSON API's spelling, or null. */
  readonly param: string | null;
  /** A stable word for programs, such as `context_length_exceeded`. */
  readonly code: string | null;
  /** Numbers that a client may act on, such as `n_prompt_tokens`. */
  readonly detail: Readonly<Record<string, number | string>>;

  /**
   * Says one sentence: "Cannot ACT: found, needed".
   * @param options the properties of the same names
   */
  constructor(
    message: string,
    options: {
      status?: number;
      param?: string | null;
      code?: string | null;
      detail?: Record<string, number | string>;
    } = {},
  ) {
    super(message);
    this.status = options.status ?? 400;
    this.param = options.param ?? null;
    this.code = options.code ?? null;
    this.detail = options.detail ?? {};
  }
}

/** A file of a model is missing, damaged, or contradicts another one. */
export class CheckpointError extends Error {
  /** The name of this class. */
  override readonly name = "CheckpointError";
  /** The file at fault, as the caller named it. */
  readonly file: string;

  /**
   * Says "Cannot read FILE: PROBLEM".
   * @param problem what was found in the file, and what was needed
   */
  constructor(file: string, problem: string) {
    super(`Cannot read ${file}: ${problem}`);
    this.file = file;
  }
}

/** The thing asked for is sound, but hadal cannot do it; the message names what it can do. */
export class UnsupportedError extends Error {
  /** The name of this class. */
  override readonly name = "UnsupportedError";
}

/** A model cannot be fetched from its hub; with time, a network or a token it may be. */
export class DownloadError extends Error {
  /** The name of this class. */
  override readonly name = "DownloadError";
  /** HTTP status of the answer, or null when there was none or it was no help. */
  readonly status: number | null;

  /** Says why; `status` is that of the answer, where there was one. */
  constructor(message: string, status: number | null = null) {
    super(message);
    this.status = status;
  }
}

/** A backend cannot be opened, or failed while it computed. */
export class DeviceError extends Error {
  /** The name of this class. */
  override readonly name = "DeviceError";
}

/** The model does not fit: the bytes it needs and the bytes there are. */
export class MemoryError extends Error {
  /** The name of this class. */
  override readonly name = "MemoryError";
  /** Bytes that the model, its cache and its activations need. */
  readonly neededBytes: number;
  /** Bytes that the machine can give. */
  readonly availableBytes: number;

  /** Says "Cannot hold WHAT", and the bytes. */
  constructor(what: string, neededBytes: number, availableBytes: number) {
    super(`Cannot hold ${what}: ${neededBytes} bytes needed, ${availableBytes} bytes available`);
    this.neededBytes = neededBytes;
    this.availableBytes = availableBytes;
  }
}

/** The queue is full or the model is shutting down: the same request may succeed later. */
export class BusyError extends Error {
  /** The name of this class. */
  override readonly name = "BusyError";
  /** When to try again. */
  readonly retryAfterMs: number;

  /** Says why not now; a second is the wait where nothing better is known. */
  constructor(message: string, retryAfterMs = 1000) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}
