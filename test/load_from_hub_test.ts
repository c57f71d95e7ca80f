import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { DownloadError, load, type Progress } from "../mod.ts";
import { atFirst, commit, modelId, withHub } from "./checkpoint/hub/hub_server.ts";

const minnow = join(import.meta.dirname!, "../examples/minnow");
const names = [
  "config.json",
  "generation_config.json",
  "model.safetensors",
  "tokenizer.json",
  "tokenizer_config.json",
];
const files = Object.fromEntries(names.map((name) => [name, readFileSync(join(minnow, name))]));
const reference = { backend: "reference", contextLength: 64 } as const;

test("a hub's name is a source: the model is fetched, and loads again when the hub cannot be reached", async () => {
  await withHub(files, async ({ url, cache, seen }) => {
    const told: Progress[] = [];
    const onProgress = (progress: Progress) => told.push(progress);
    const hub = { endpoint: url, cache, token: null };
    const first = await load(modelId, { ...reference, hub, onProgress });
    assert.equal(first.info.name, "tiny");
    const ids = first.tokenizer.encode("Once upon");
    await first.close();
    const downloads = told.filter(({ stage }) => stage === "download");
    assert.equal(downloads.at(-1)!.done, downloads.at(-1)!.total);

    const ways = [{ ...hub, endpoint: "http://127.0.0.1:9" }, { ...hub, offline: true }, {
      ...hub,
      revision: commit,
    }];
    const asked = seen.length;
    for (const hub of ways) {
      await using again = await load(modelId, { ...reference, hub });
      assert.deepEqual([again.info.name, again.tokenizer.encode("Once upon")], ["tiny", ids]);
    }
    assert.equal(seen.length, asked);
  });
});

test("what the hub refuses is not looked for in the cache", async () => {
  await withHub(files, async (server) => {
    const hub = { endpoint: server.url, cache: server.cache, token: null };
    await (await load(modelId, { ...reference, hub })).close();
    server.misbehave = atFirst(Infinity, () => true, (response) => {
      response.writeHead(401);
      response.end();
    });
    await assert.rejects(load(modelId, { ...reference, hub }), DownloadError);
  });
});

test("a folder of that name comes before the hub, and a signal ends the download", async () => {
  await withHub(files, async ({ url, cache, seen }) => {
    const hub = { endpoint: url, cache, token: null };
    const reason = new Error("enough");
    const stop = new AbortController();
    const onProgress = ({ stage }: Progress) => stage === "download" && stop.abort(reason);
    await assert.rejects(load(modelId, { ...reference, hub, onProgress, signal: stop.signal }), reason);
    const asked = seen.length;
    mkdirSync(join(cache, modelId), { recursive: true });
    await assert.rejects(load(join(cache, modelId), { ...reference, hub }), { name: "CheckpointError" });
    assert.equal(seen.length, asked);
    assert.ok(readdirSync(cache).length > 0);
  });
});

test("of several GGUF files on a hub the one that is asked for is loaded", async () => {
  const fixture = fileURLToPath(new URL("../../shared/fixtures/gguf/v2lite-f16.gguf", import.meta.url));
  if (!existsSync(fixture)) {
    return console.log("NOTE: ../shared/fixtures is not here: GGUF from a hub was not tried");
  }
  const bytes = readFileSync(fixture);
  const gguf = {
    "config.json": files["config.json"],
    "q/a-f16.gguf": bytes,
    "q/a-Q8_0.gguf": bytes.subarray(0, 5000),
  };
  await withHub(gguf, async ({ url, cache }) => {
    const hub = { endpoint: url, cache, token: null };
    await assert.rejects(
      load(modelId, { ...reference, hub }),
      /2 GGUF models, its name with one of these is needed: ":Q8_0", ":f16"$/,
    );
    for (const [name, end] of [["tiny:F16", ":F16"], ["a-f16.gguf", "/q/a-f16.gguf"]]) {
      await using named = await load(`${modelId}${end}`, { ...reference, hub });
      assert.deepEqual([named.info.name, named.info.architecture], [name, "deepseek_v2"]);
    }
    await assert.rejects(load(`${modelId}:Q4`, { ...reference, hub }), /none is ":Q4", its name with/);
    await assert.rejects(load("models/x.gguf", { ...reference, hub }), /there is no such file/);
    await using model = await load(modelId, { ...reference, hub: { ...hub, include: ["*f16.gguf"] } });
    assert.deepEqual([model.info.name, model.info.architecture], ["tiny", "deepseek_v2"]);
    assert.equal((await model.logits([1, 2])).length, 2 * 512);
  });
});
