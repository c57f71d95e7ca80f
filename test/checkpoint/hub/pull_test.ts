import assert from "node:assert/strict";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type DownloadProgress } from "../../../src/checkpoint/hub/progress.ts";
import { pull } from "../../../src/checkpoint/hub/pull.ts";
import { until } from "../../until.ts";
import { blobName, commit, isPart, modelId, noise, tinyFiles, withHub } from "./hub_server.ts";
import { assertWhole, needed, pullTiny, refuses, repo } from "./pulled.ts";

test("a model is fetched into the layout of the Python client, and only what it needs", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const told: DownloadProgress[] = [];
    const pulled = await pullTiny(hub, { onProgress: (progress) => told.push(progress) });
    assert.equal(pulled.folder, join(repo(hub), "snapshots", commit));
    assert.deepEqual([...pulled.paths].sort(), needed);
    assertWhole(hub);
    assert.equal(readFileSync(join(repo(hub), "refs", "main"), "utf8"), commit);
    const link = join(pulled.folder, "config.json");
    assert.ok(lstatSync(link).isSymbolicLink());
    assert.equal(readlinkSync(link), join("..", "..", "blobs", blobName(hub.files.get("config.json")!)));
    const last = told.at(-1)!;
    const bytes = needed.reduce((sum, path) => sum + hub.files.get(path)!.length, 0);
    assert.deepEqual([last.doneBytes, last.totalBytes, last.filesDone, last.files], [bytes, bytes, 5, 5]);
    assert.ok(told.some(({ bytesPerSecond }) => bytesPerSecond > 0));
    assert.ok(hub.seen.filter(isPart).length > 4, "large files come in parts");
  });
});

test("what is in the cache is not fetched again", async () => {
  await withHub(tinyFiles(), async (hub) => {
    await pullTiny(hub);
    const before = hub.seen.length;
    await pullTiny(hub);
    assert.deepEqual(hub.seen.slice(before).map(({ path }) => path), [
      `/api/models/${modelId}/revision/main`,
    ]);
    await pullTiny(hub, { revision: commit });
    assert.equal(hub.seen.length, before + 1, "a commit never changes");
  });
});

test("files that the Python client left are used", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const name = "model-1.safetensors";
    const content = hub.files.get(name)!;
    mkdirSync(join(repo(hub), "blobs"), { recursive: true });
    writeFileSync(join(repo(hub), "blobs", blobName(content)), content);
    await pullTiny(hub);
    assertWhole(hub);
    assert.ok(!hub.seen.some(({ path, method }) => path.includes(name) && method === "GET"));
  });
});

test("patterns choose files, in folders too", async () => {
  await withHub(
    { ...tinyFiles(), "gguf/a-Q4_K.gguf": noise(3000), "gguf/a-Q8_0.gguf": noise(3000) },
    async (hub) => {
      const only = async (include: string[], exclude: string[] = []) =>
        [...(await pullTiny(hub, { patterns: { include, exclude } })).paths].sort();
      assert.deepEqual(await only(["*Q4_K.gguf"]), ["gguf/a-Q4_K.gguf"]);
      assert.deepEqual(await only(["gguf/*"], ["*Q4*"]), ["gguf/a-Q8_0.gguf"]);
      assert.deepEqual(await only(["*.json"], ["model*", "tok?nizer.json"]), ["config.json"]);
      const link = join(repo(hub), "snapshots", commit, "gguf", "a-Q4_K.gguf");
      assert.equal(
        readlinkSync(link),
        join("..", "..", "..", "blobs", blobName(hub.files.get("gguf/a-Q4_K.gguf")!)),
      );
      assert.equal(statSync(link).size, 3000);
      await refuses(only(["nothing"]), /none of its 9 files is wanted/);
    },
  );
});

test("a model without weights, or with several GGUF files, is refused by what it has", async () => {
  await withHub({ "config.json": noise(10) }, async (hub) => {
    await refuses(pullTiny(hub), /no weights in safetensors, PyTorch files or GGUF/);
    hub.files.set("x-Q4.gguf", noise(5000)).set("x-Q8.gguf", noise(5000));
    await refuses(pullTiny(hub), /2 GGUF models, its name with one of these is needed: ":Q4", ":Q8"$/);
    hub.files.set(
      "model.safetensors.index.json",
      new TextEncoder().encode('{"weight_map":{"a":"b.safetensors"}}'),
    );
    await refuses(pullTiny(hub), /names "b\.safetensors", which it lacks/);
  });
  const index = new TextEncoder().encode('{"weight_map":');
  await withHub({ "model.safetensors.index.json": index }, async (hub) => {
    await refuses(pullTiny(hub), /is no index/);
  });
});

test("an empty file is a file", async () => {
  await withHub({ ...tinyFiles(), "tokenizer.json": new Uint8Array(0) }, async (hub) => {
    await pullTiny(hub);
    assertWhole(hub);
  });
});

test("offline the cache must do, and a model that is not whole is refused", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const offline = hub.settings({ offline: true });
    await refuses(pull(modelId, offline), /offline: the cache holds no revision main/);
    const { folder } = await pullTiny(hub);
    const before = hub.seen.length;
    const pulled = await pull(modelId, offline);
    assert.equal(pulled.folder, folder);
    assert.deepEqual([...pulled.paths].sort(), needed);
    await refuses(pull(modelId, offline, { revision: "v2" }), /no revision v2/);
    writeFileSync(join(repo(hub), "blobs", "x"), "");
    rmSync(join(repo(hub), "blobs", blobName(hub.files.get("model-2.safetensors")!)));
    await refuses(pull(modelId, offline), /names "model-2\.safetensors", which it lacks/);
    assert.equal(hub.seen.length, before, "nobody was asked");
  });
});

test("a pull that is aborted stops at once, and the next one goes on from there", async () => {
  await withHub(tinyFiles(), async (hub) => {
    hub.pieceMs = 20;
    const stop = new AbortController();
    const reason = new Error("enough");
    const aborted = pullTiny(hub, {
      connections: 2,
      signal: stop.signal,
      onProgress: ({ doneBytes }) => doneBytes > 1_200_000 && stop.abort(reason),
    });
    await assert.rejects(aborted, reason);
    assert.deepEqual(
      readdirSync(join(hub.cache, ".locks", "models--deep-see--tiny")),
      [],
      "locks are released",
    );
    hub.pieceMs = 0;
    const asked = hub.seen.length;
    let first: DownloadProgress | undefined;
    await pullTiny(hub, {
      onProgress: (progress) => first ??= progress.doneBytes > 0 ? progress : undefined,
    });
    assertWhole(hub);
    const bytes = hub.seen.slice(asked).filter(isPart).reduce((sum, { headers }) => {
      const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(headers.range!)!.map(Number);
      return sum + end + 1 - begin;
    }, 0);
    assert.ok(bytes < 4_500_001 - 600_000, `${bytes} bytes were asked for again`);
    await assert.rejects(pullTiny(hub, { signal: AbortSignal.abort(reason) }), reason);
  });
});

test("two pulls at once fetch each part once, and both end with the model", async () => {
  await withHub(tinyFiles(), async (hub) => {
    let waited = false;
    hub.misbehave = async (seen) => {
      if (isPart(seen)) await until(() => waited, "one of them waits for the other");
      return false;
    };
    const onProgress = ({ waitingFor }: DownloadProgress) => waited ||= waitingFor !== null;
    const [a, b] = await Promise.all([pullTiny(hub, { onProgress }), pullTiny(hub, { onProgress })]);
    assert.equal(a.folder, b.folder);
    assertWhole(hub);
    const parts = hub.seen.filter(isPart).map(({ path, headers }) => `${path} ${headers.range}`);
    assert.equal(new Set(parts).size, parts.length);
  });
});

test("a partial file that does not fit, or a state that lies, is not trusted", async () => {
  for (const damage of ["truncate", "garbage", "more", "size"] as const) {
    await withHub(tinyFiles(), async (hub) => {
      hub.pieceMs = 10;
      const stop = new AbortController();
      const onProgress = ({ doneBytes }: DownloadProgress) => doneBytes > 1_500_000 && stop.abort();
      await assert.rejects(pullTiny(hub, { signal: stop.signal, connections: 2, onProgress }));
      hub.pieceMs = 0;
      const blobs = join(repo(hub), "blobs");
      for (const name of readdirSync(blobs).filter((name) => name.endsWith(".incomplete.json"))) {
        const state = join(blobs, name);
        const kept = JSON.parse(readFileSync(state, "utf8"));
        if (damage === "truncate") truncateSync(state.slice(0, -5), 10);
        if (damage === "garbage") writeFileSync(state, "{");
        if (damage === "more") {
          writeFileSync(
            state,
            JSON.stringify({ ...kept, done: kept.done.map(() => kept.partBytes) }),
          );
        }
        if (damage === "size") writeFileSync(state, JSON.stringify({ ...kept, sizeBytes: 5 }));
      }
      await pullTiny(hub);
      assertWhole(hub);
    });
  }
});
