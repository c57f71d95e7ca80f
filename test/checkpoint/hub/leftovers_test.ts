import assert from "node:assert/strict";
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { ModelCache } from "../../../src/checkpoint/hub/cache.ts";
import { removeDamaged } from "../../../src/checkpoint/hub/damaged.ts";
import { tryLock } from "../../../src/checkpoint/hub/lock.ts";
import { abandonedPath, deadProcess } from "../../abandoned.ts";
import { blobName, commit, type Hub, modelId, tinyFiles, withHub } from "./hub_server.ts";
import { assertWhole, pullTiny, repo } from "./pulled.ts";

const weights = "model-1.safetensors";

/** Asserts that there is nothing in the cache but what a pull is to leave. */
function assertNothingElse(hub: Hub): void {
  assertWhole(hub);
  assert.deepEqual(readdirSync(hub.cache).sort(), [".locks", "models--deep-see--tiny"]);
  assert.deepEqual(readdirSync(repo(hub)).sort(), ["blobs", "refs", "snapshots"]);
  assert.deepEqual(readdirSync(join(repo(hub), "snapshots")), [commit]);
  assert.deepEqual(readdirSync(join(repo(hub), "refs")), ["main"]);
  assert.equal(readFileSync(join(repo(hub), "refs", "main"), "utf8"), commit);
}

test("whatever a pull left that was killed is gone after the next one", async () => {
  const held = JSON.stringify({ pid: deadProcess(), host: hostname(), id: "x" });
  await withHub(tinyFiles(), async (hub) => {
    await pullTiny(hub);
    const cache = new ModelCache(hub.cache, modelId), name = blobName(hub.files.get(weights)!);
    const partial = cache.partial(name), lock = cache.lock(name);
    const left: Record<string, string>[] = [
      { [`${partial}.json`]: "{}", [lock]: held }, // between the content's appearing and the state's going
      { [lock]: held },
      { [`${lock}.stale`]: held },
      { [abandonedPath(lock)]: "" }, // before the lock appeared
      { [partial]: "xyz", [lock]: held }, // a copy, where a disk has no links
      { [partial]: "xyz", [`${partial}.json`]: "{}", [`${partial}.json.new`]: "{", [`${lock}.stale`]: "" },
    ];
    for (const isLinked of [false, true]) {
      for (const files of left) {
        for (const [path, content] of Object.entries(files)) writeFileSync(path, content);
        if (!isLinked) rmSync(join(cache.snapshot(commit), weights));
        await pullTiny(hub);
        assertNothingElse(hub);
      }
    }
    writeFileSync(`${partial}.json`, "{}");
    const release = tryLock(lock)!;
    await pullTiny(hub);
    assert.ok(lstatSync(`${partial}.json`).isFile(), "what a living process holds stays");
    release();
    await pullTiny(hub);
    assertNothingElse(hub);
  });
});

test("a file in part stays for the next pull, whatever else is fetched meanwhile", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const cache = new ModelCache(hub.cache, modelId), name = blobName(hub.files.get(weights)!);
    cache.makeBlobs();
    writeFileSync(cache.partial(name), "xyz");
    await pullTiny(hub, { patterns: { include: ["config.json"], exclude: [] } });
    assert.equal(readFileSync(cache.partial(name), "utf8"), "xyz");
    await pullTiny(hub);
    assertNothingElse(hub);
  });
});

test("a link to nothing gives way, and a revision is written over whatever its file holds", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const cache = new ModelCache(hub.cache, modelId), ref = join(repo(hub), "refs", "main");
    const link = join(cache.snapshot(commit), weights);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join("..", "..", "blobs", "none"), link);
    await pullTiny(hub);
    assertNothingElse(hub);
    for (const content of ["", "not a commit", `${"f".repeat(40)}\n`, "x".repeat(100)]) {
      writeFileSync(ref, content);
      await pullTiny(hub);
      assertNothingElse(hub);
    }
  });
});

test("where a disk has no links a file is a copy, and nothing is beside it", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const { folder } = await pullTiny(hub);
    rmSync(join(folder, weights));
    const cache = new ModelCache(hub.cache, modelId), name = blobName(hub.files.get(weights)!);
    cache.copy(commit, weights, name);
    assert.ok(lstatSync(join(folder, weights)).isFile());
    assertNothingElse(hub);
  });
});

test("of a damaged file the content goes first, so that no kill leaves it to be linked again", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const { folder } = await pullTiny(hub);
    const name = blobName(hub.files.get(weights)!);
    writeFileSync(join(repo(hub), "blobs", name), "damage");
    const { removed } = await removeDamaged(folder, [weights], new AbortController().signal);
    assert.deepEqual(removed, [weights]);
    assert.ok(lstatSync(join(folder, weights)).isSymbolicLink());
    assert.ok(!readdirSync(join(repo(hub), "blobs")).includes(name));
    await pullTiny(hub, { revision: commit });
    assertNothingElse(hub);
  });
});
