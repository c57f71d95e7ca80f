import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { Random } from "../../src/engine/random.ts";
import {
  commit,
  type Hub,
  isPart,
  type Misbehaviour,
  modelId,
  partOf,
  tinyFiles,
  withHub,
} from "../checkpoint/hub/hub_server.ts";
import { type Outcome, runHadal } from "./run_hadal.ts";

/** Runs `hadal pull` against a hub; `watch` gets the process. */
function hadalPull(
  { url, cache }: Pick<Hub, "url" | "cache">,
  args: readonly string[],
  env: Record<string, string> = {},
  watch?: (child: ChildProcess) => void,
): Promise<Outcome> {
  return runHadal(["pull", ...args], { HF_ENDPOINT: url, HF_HOME: cache, ...env }, watch);
}

/** Holds the last bytes of the weights back, so that no pull ends before it is stopped. */
const neverTheEnd = (hub: Hub): Misbehaviour => (seen) => {
  if (!isPart(seen) || !seen.path.includes("model-1")) return false;
  const { content, end } = partOf(hub, seen);
  return end === content.length - 1;
};

const repo = (hub: Hub) => join(hub.cache, "hub", "models--deep-see--tiny");

function assertWhole(hub: Hub, folder: string): void {
  const names = readdirSync(folder);
  assert.equal(names.length, 5);
  for (const name of names) {
    assert.equal(Buffer.compare(readFileSync(join(folder, name)), hub.files.get(name)!), 0);
  }
  assert.ok(
    readdirSync(join(repo(hub), "blobs")).every((name) => /^[0-9a-f]+$/.test(name)),
    "nothing in part",
  );
  assert.deepEqual(readdirSync(join(hub.cache, "hub", ".locks", "models--deep-see--tiny")), []);
}

test("pull prints the folder, tells how far it is, and sends the token of the environment or the file", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const first = await hadalPull(hub, [modelId, "--connections", "2"], { HF_TOKEN: "hf_one" });
    assert.equal(first.code, 0, first.stderr);
    assert.equal(first.stdout.trim(), join(repo(hub), "snapshots", commit));
    assert.match(first.stderr, /5 of 5 files, 4\.5 of 4\.5 MB/);
    assertWhole(hub, first.stdout.trim());
    assert.equal(hub.seen[0].headers.authorization, "Bearer hf_one");
    writeFileSync(join(hub.cache, "token"), "hf_two\n");
    const second = await hadalPull(hub, [modelId]);
    assert.equal(second.stdout, first.stdout);
    assert.equal(hub.seen.at(-1)!.headers.authorization, "Bearer hf_two");
    const offline = await hadalPull({ ...hub, url: "http://127.0.0.1:9" }, [modelId], {
      HF_HUB_OFFLINE: "1",
    });
    assert.equal(offline.stdout, first.stdout);
    const other = join(hub.cache, "other");
    mkdirSync(other);
    const some = await hadalPull(hub, [modelId, "--include", "*.json", "--exclude", "model*"], {
      HF_HUB_CACHE: other,
    });
    assert.equal(some.code, 0, some.stderr);
    assert.deepEqual(readdirSync(some.stdout.trim()).sort(), ["config.json", "tokenizer.json"]);
  });
});

test("pull --verify fetches anew what a disk has damaged, and nothing else", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const folder = (await hadalPull(hub, [modelId])).stdout.trim();
    const good = await hadalPull(hub, [modelId, "--verify"]);
    assert.deepEqual([good.code, good.stdout.trim()], [0, folder], good.stderr);
    assert.doesNotMatch(good.stderr, /Damaged/);
    const before = hub.seen.length;
    for (const name of ["model-1.safetensors", "config.json"]) {
      const path = realpathSync(join(folder, name)), bytes = readFileSync(path);
      bytes[bytes.length - 3] ^= 1;
      writeFileSync(path, bytes);
    }
    const { code, stderr } = await hadalPull(hub, [modelId, "--verify"]);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /Damaged, and fetched anew: (config\.json, model-1|model-1\.safetensors, config)/);
    assertWhole(hub, folder);
    const fetched = hub.seen.slice(before).filter(({ host }) => host === "store");
    assert.ok(fetched.length > 0 && hub.seen.slice(before).every(({ path }) => !path.includes("model-2")));
  });
});

test("a wrong command line, or a model that cannot be had, ends with 2 and one sentence", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const cases: [args: string[], message: RegExp, env?: Record<string, string>][] = [
      [[], /0 models were given, one is needed/],
      [["a/b", "c/d"], /2 models were given/],
      [["../x"], /Cannot use the model "\.\.\/x": a name such as/],
      [[modelId, "--connections", "0"], /--connections: 0 was given, a number from 1 to 64 is needed/],
      [[modelId, "--connections", "many"], /many was given/],
      [[modelId, "--other"], /--other/],
      [[modelId, "--revision", "a/../b"], /Cannot use the revision/],
      [["deep-see/none"], /Cannot fetch deep-see\/none at "main": .* answers 404/],
      [[modelId, "--offline"], /offline: the cache holds no revision main/],
      [[modelId], /Cannot use the endpoint "nowhere"/, { HF_ENDPOINT: "nowhere" }],
    ];
    await Promise.all(cases.map(async ([args, message, env]) => {
      const { code, stdout, stderr } = await hadalPull(hub, args, env);
      assert.equal(code, 2, `${args}: ${stderr}`);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /\n {4}at /, "a stack trace");
      assert.equal(stdout, "");
    }));
    const help = await hadalPull(hub, ["--help"]);
    assert.equal(help.code, 0);
    assert.match(help.stdout, /--include PATTERN[^]*HF_ENDPOINT, HF_TOKEN/);
  });
});

test("a signal ends the command with 130, and the next one goes on from there", async () => {
  if (process.platform === "win32") return; // it has no signals that a process may handle
  await withHub(tinyFiles(), async (hub) => {
    hub.misbehave = neverTheEnd(hub);
    const { code, stderr } = await hadalPull(hub, [modelId], {}, (child) => {
      const timer = setInterval(() => {
        if (hub.seen.filter(isPart).length < 4) return;
        clearInterval(timer);
        process.kill(child.pid!, "SIGINT");
      }, 5);
      child.on("close", () => clearInterval(timer));
    });
    assert.equal(code, 130, stderr);
    assert.match(stderr, /Stopped: what was fetched stays/);
    assert.ok(readdirSync(join(repo(hub), "blobs")).some((name) => name.endsWith(".incomplete")));
    hub.misbehave = () => false;
    const again = await hadalPull(hub, [modelId]);
    assertWhole(hub, again.stdout.trim());
  });
});

test("a pull that is killed twenty times at random ends with the same bytes", async () => {
  const random = Random.fromSeed(20);
  await withHub(tinyFiles(12_000_000), async (hub) => {
    hub.pieceMs = 4;
    hub.misbehave = neverTheEnd(hub);
    for (let i = 0; i < 20; i++) {
      const asked = hub.seen.length;
      const { code } = await hadalPull(hub, [modelId, "--connections", "2"], {}, (child) => {
        const afterMs = 150 * random.nextUint32() / 2 ** 32;
        // Counted from its first request: before it, there is nothing to lose.
        const timer = setInterval(() => {
          if (hub.seen.length === asked) return;
          clearInterval(timer);
          setTimeout(() => child.kill("SIGKILL"), afterMs);
        }, 2);
        child.on("close", () => clearInterval(timer));
      });
      assert.notEqual(code, 0);
    }
    hub.pieceMs = 0;
    hub.misbehave = () => false;
    const { code, stdout, stderr } = await hadalPull(hub, [modelId]);
    assert.equal(code, 0, stderr);
    assertWhole(hub, stdout.trim());
  });
});

test("two processes at once fetch each part once", async () => {
  await withHub(tinyFiles(), async (hub) => {
    hub.pieceMs = 10;
    const both = await Promise.all([hadalPull(hub, [modelId]), hadalPull(hub, [modelId])]);
    for (const { code, stdout, stderr } of both) {
      assert.equal(code, 0, stderr);
      assertWhole(hub, stdout.trim());
    }
    const parts = hub.seen.filter(isPart).map(({ path, headers }) => `${path} ${headers.range}`);
    assert.equal(new Set(parts).size, parts.length);
  });
});
