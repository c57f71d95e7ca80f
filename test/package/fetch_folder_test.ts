import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { DownloadError } from "../../src/errors.ts";
import { fetchFolder, type FolderManifest } from "../../src/package/fetch_folder.ts";
import { abandonedPath } from "../abandoned.ts";
import { type PackageServer, withPackageServer } from "./package_server.ts";

const bytesOf = (path: string) => new TextEncoder().encode(`the bytes of ${path} `.repeat(1000));
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const paths = ["ops.h", "cpu/a.c", "cpu/b.c"];
const files: FolderManifest = Object.fromEntries(
  paths.map((path) => [path, [bytesOf(path).length, sha256(bytesOf(path))] as const]),
);
const patience = { idleMs: 5_000, tries: 3, firstWaitMs: 1, longestWaitMs: 10 };
const folderOf = ({ url }: PackageServer) => new URL("some/kernels/", url);

/** Runs `body` with an empty cache, and a server that answers `path` as `answer` says, or with its bytes. */
async function withCache(
  body: (fetchAll: () => Promise<string>, cache: string, server: PackageServer) => Promise<void>,
  answer: (path: string) => Uint8Array | number | null = () => null,
): Promise<void> {
  const cache = mkdtempSync(join(tmpdir(), "hadal-test-"));
  const reply = (path: string) => {
    const name = path.slice("some/kernels/".length);
    return answer(name) ?? bytesOf(name);
  };
  try {
    await withPackageServer(
      (server) => body(() => fetchFolder(folderOf(server), files, {}, { cache, patience }), cache, server),
      reply,
    );
  } finally {
    rmSync(cache, { recursive: true });
  }
}

function assertWhole(folder: string): void {
  assert.match(folder, /[/\\]kernels$/);
  for (const path of paths) assert.deepEqual(new Uint8Array(readFileSync(join(folder, path))), bytesOf(path));
}

const kept = (cache: string) => readdirSync(join(cache, "package"));

test("a folder is fetched once, and found from then on", () =>
  withCache(async (fetchAll, cache, { asked }) => {
    const folder = await fetchAll();
    assertWhole(folder);
    assert.equal(asked.length, paths.length);
    assert.equal(await fetchAll(), folder);
    assert.equal(asked.length, paths.length);
    assert.equal(kept(cache).length, 1);
  }));

test("several who fetch a folder at once all find it whole", () =>
  withCache(async (fetchAll, cache) => {
    const folders = await Promise.all([fetchAll(), fetchAll(), fetchAll(), fetchAll()]);
    assert.equal(new Set(folders).size, 1);
    assertWhole(folders[0]);
    assert.equal(kept(cache).length, 1);
  }));

test("what a process left that was killed while it fetched goes", () =>
  withCache(async (fetchAll, cache, { asked }) => {
    const place = dirname(await fetchAll());
    for (const isThere of [true, false]) {
      mkdirSync(join(abandonedPath(place), "kernels"), { recursive: true });
      // One that was killed while it put another in the place of what was damaged leaves nothing there.
      if (!isThere) renameSync(place, abandonedPath(place));
      assertWhole(await fetchAll());
      assert.deepEqual(kept(cache), [basename(place)]);
    }
    assert.equal(asked.length, 2 * paths.length);
  }));

test("a folder that was cut short, or that others may write to, is fetched anew", () =>
  withCache(async (fetchAll, cache, { asked }) => {
    const folder = await fetchAll();
    truncateSync(join(folder, "cpu/a.c"), 7);
    assertWhole(await fetchAll());
    assert.equal(asked.length, 2 * paths.length);
    if (process.platform !== "win32") {
      chmodSync(folder, 0o777);
      assertWhole(await fetchAll());
      assert.equal(asked.length, 3 * paths.length);
    }
    assert.equal(kept(cache).length, 1);
  }));

const refusals: [what: string, answer: (path: string) => Uint8Array | number | null, message: RegExp][] = [
  [
    "other bytes",
    (path) => path === "cpu/a.c" ? bytesOf("cpu/x.c") : null,
    /^Cannot use http:\S+cpu\/a\.c: its SHA-256 is [0-9a-f]{64}, [0-9a-f]{64} is needed$/,
  ],
  ["more bytes", () => new Uint8Array(1 << 20), /^Cannot use http:\S+: it has more than \d+ bytes$/],
  ["fewer bytes", () => new Uint8Array(3), /ended after 3 of \d+ bytes$/],
  ["no file", (path) => path === "ops.h" ? 404 : null, /^Cannot fetch http:\S+ops\.h: 127\.\S+ answers 404$/],
  ["an error", () => 500, /answers 500$/],
];
for (const [what, answer, message] of refusals) {
  test(`a server that has ${what} is refused in one sentence, and nothing is kept`, () =>
    withCache(async (fetchAll, cache) => {
      await assert.rejects(fetchAll(), (error) => {
        assert(error instanceof DownloadError, String(error));
        assert.match(error.message, message);
        return true;
      });
      assert.deepEqual(kept(cache), []);
    }, answer));
}

test("a server that fails once is asked again", () => {
  let failures = 2;
  return withCache(
    async (fetchAll) => assertWhole(await fetchAll()),
    (path) => path === "cpu/b.c" && failures-- > 0 ? 503 : null,
  );
});

test("who gives up fetching gets the reason, and leaves nothing", () =>
  withCache(async (_, cache, server) => {
    const reason = new Error("enough");
    await assert.rejects(
      fetchFolder(folderOf(server), files, { signal: AbortSignal.abort(reason) }, { cache, patience }),
      reason,
    );
    const stop = new AbortController();
    await assert.rejects(
      fetchFolder(folderOf(server), files, { signal: stop.signal, onProgress: () => stop.abort(reason) }, {
        cache,
        patience,
      }),
      reason,
    );
    assert.deepEqual(kept(cache), []);
  }));

test("progress ends with all bytes", () =>
  withCache(async (_, cache, server) => {
    const told: number[][] = [];
    const onProgress = (...numbers: number[]) => told.push(numbers);
    const folder = await fetchFolder(folderOf(server), files, { onProgress }, { cache, patience });
    const total = paths.reduce((sum, path) => sum + bytesOf(path).length, 0);
    assert.deepEqual(told.at(-1), [total, total]);
    assert.equal(dirname(dirname(folder)), join(cache, "package"));
  }));
