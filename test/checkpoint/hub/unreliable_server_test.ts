/** Connections that end and servers that err: a pull goes on, and what it takes is what it should be. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pull } from "../../../src/checkpoint/hub/pull.ts";
import {
  atFirst,
  blobName,
  commit,
  isPart,
  type Misbehaviour,
  modelId,
  noise,
  partOf,
  type Seen,
  tinyFiles,
  withHub,
} from "./hub_server.ts";
import { assertWhole, pullTiny, refuses, repo } from "./pulled.ts";
import { until } from "../../until.ts";

test("connections that are cut go on where they ended", async () => {
  await withHub(tinyFiles(), async (hub) => {
    let cuts = 0;
    hub.misbehave = async (seen, response) => {
      if (!isPart(seen) || cuts >= 6) return false;
      cuts++;
      const { body, content, begin, range } = partOf(hub, seen);
      response.writeHead(206, { "content-length": body.length, "content-range": range });
      const sent = body.subarray(0, body.length >> 1);
      response.write(sent);
      // The last byte that tells whether it has come: in the file, what has not is 0.
      const last = sent.findLastIndex((byte) => byte !== 0);
      const partial = join(repo(hub), "blobs", `${blobName(content)}.hadal.incomplete`);
      await until(() => readFileSync(partial)[begin + last] === sent[last], "what was sent has been written");
      response.destroy();
      return true;
    };
    await pullTiny(hub);
    assertWhole(hub);
    assert.equal(cuts, 6);
    const starts = hub.seen.filter(isPart).map(({ path, headers }) => `${path} ${headers.range}`);
    assert.equal(new Set(starts).size, starts.length, "no range was asked for twice");
  });
});

test("a connection that stalls is given up and tried again", async () => {
  await withHub(tinyFiles(), async (hub) => {
    // So many tries that a machine which stalls as well, now and then, does not use them up.
    const patience = { idleMs: 100, tries: 100, firstWaitMs: 5, longestWaitMs: 10 };
    hub.misbehave = atFirst(2, isPart, (response, seen) => {
      response.writeHead(206, { "content-range": partOf(hub, seen).range });
      response.write("");
    });
    await pull(modelId, hub.settings({ patience }));
    assertWhole(hub);
    hub.files.set("config.json", noise(20));
    hub.misbehave = ({ path }) => path.endsWith("config.json"); // for ever
    const settings = { patience: { ...patience, tries: 3 }, cache: `${hub.cache}/other` };
    const again = pull(modelId, hub.settings(settings));
    await refuses(again, /127\.0\.0\.1:\d+ sent nothing for 0\.1 s/);
  });
});

test("a server that is busy is asked again when it says, and not when that is too long", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const times = new Map<string | undefined, number[]>();
    const answer = (status: number, retryAfter?: string): Misbehaviour => {
      const isBusy = (seen: Seen) => isPart(seen) && seen.path.includes("model-2");
      const refuse = atFirst(2, isBusy, (response) => {
        response.writeHead(status, retryAfter === undefined ? {} : { "retry-after": retryAfter });
        response.end("<html>busy</html>");
      });
      return (seen, response) => {
        const { range } = seen.headers;
        if (isBusy(seen)) times.set(range, [...times.get(range) ?? [], performance.now()]);
        return refuse(seen, response);
      };
    };
    for (const [i, misbehaviour] of [answer(429, "1"), answer(503), answer(500)].entries()) {
      hub.misbehave = misbehaviour;
      const cache = join(hub.cache, String(i));
      times.clear();
      await pull(modelId, hub.settings({ cache }));
      const [first, second] = [...times.values()].find(({ length }) => length > 1)!;
      // Timers may be a millisecond early.
      if (i === 0) assert.ok(second - first >= 990, "it waits as long as it is told");
    }
    hub.misbehave = answer(429, "3600");
    await refuses(pullTiny(hub), /answers 429, and asks to wait 3600 s/, 429);
  });
});

test("an answer that lies about its length or range is not taken", async () => {
  const lies: [
    string,
    (begin: number, end: number, total: number) => Record<string, string | number>,
    number,
  ][] = [
    ["a longer body", (begin, end, total) => ({ "content-range": `bytes ${begin}-${end}/${total}` }), 5],
    ["another length", (b, e, t) => ({ "content-range": `bytes ${b}-${e}/${t}`, "content-length": 3 }), -1],
    ["another range", (b, e, t) => ({ "content-range": `bytes ${b + 1}-${e + 1}/${t}` }), 0],
    ["no range", () => ({}), 0],
    ["a nonsense range", () => ({ "content-range": "bytes 1-2-3/x" }), 0],
  ];
  for (const [what, headers, extra] of lies) {
    await withHub(tinyFiles(), async (hub) => {
      hub.misbehave = atFirst(3, isPart, (response, seen) => {
        const { begin, end, content, body } = partOf(hub, seen);
        response.writeHead(206, headers(begin, end, content.length));
        const longer = new Uint8Array(body.length + Math.max(0, extra));
        longer.set(body); // in "another range" right bytes with a wrong label
        response.end(extra < 0 ? body.subarray(0, 3) : longer);
      });
      await pullTiny(hub);
      assertWhole(hub);
    }).catch((error) => assert.fail(`${what}: ${error.stack}`));
  }
});

test("wrong bytes of the right length are caught by their hash, and fetched again", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const spoil = (times: number) =>
      atFirst(times, (seen) => isPart(seen) && seen.path.includes("model-2"), (response, seen) => {
        const { body, range } = partOf(hub, seen);
        response.writeHead(206, { "content-range": range });
        response.end(new Uint8Array(body.length));
      });
    hub.misbehave = spoil(1);
    await pullTiny(hub);
    assertWhole(hub);
    hub.misbehave = spoil(Infinity);
    const again = pull(modelId, hub.settings({ cache: join(hub.cache, "other") }));
    await refuses(
      again,
      /model-2\.safetensors of deep-see\/tiny: 3 times it came as another file; its SHA-256 is [0-9a-f]{64}/,
    );
    const blobs = readdirSync(join(hub.cache, "other", "models--deep-see--tiny", "blobs"));
    assert.ok(!blobs.includes(blobName(hub.files.get("model-2.safetensors")!)), "it was not published");
    assert.ok(
      !existsSync(join(hub.cache, "other", "models--deep-see--tiny", "refs")),
      "the revision was not set",
    );
  });
});

test("a small file is held against the hash of Git", async () => {
  await withHub(tinyFiles(), async (hub) => {
    hub.misbehave = atFirst(
      Infinity,
      ({ method, path }) => method === "GET" && path.endsWith("config.json"),
      (response) => {
        response.end(new Uint8Array(hub.files.get("config.json")!.length));
      },
    );
    await refuses(pullTiny(hub), /config\.json .* its Git SHA-1 is/);
  });
});

test("a file that changes while it is fetched comes whole in its new form", async () => {
  for (const honoursIfRange of [true, false]) {
    await withHub(tinyFiles(), async (hub) => {
      const changed = noise(3_000_000, 99);
      let parts = 0;
      hub.misbehave = (seen, response) => {
        if (!isPart(seen) || !seen.path.includes("model-1")) return false;
        if (++parts === 3) hub.files.set("model-1.safetensors", changed);
        if (honoursIfRange || seen.headers["if-range"] === undefined) return false;
        const { body, content, range } = partOf(hub, seen);
        response.writeHead(206, {
          "content-range": range,
          "etag": `"store-${blobName(content).slice(0, 8)}"`,
        });
        response.end(body);
        return true;
      };
      await pullTiny(hub, { connections: 1 });
      const path = join(repo(hub), "snapshots", commit, "model-1.safetensors");
      assert.equal(Buffer.compare(readFileSync(path), changed), 0);
      assert.equal(hub.seen.some(({ headers }) => headers["if-range"] !== undefined), true);
    });
  }
});

test("416 makes the file be asked about anew", async () => {
  await withHub(tinyFiles(), async (hub) => {
    hub.misbehave = atFirst(1, (seen) => isPart(seen) && seen.path.includes("model-1"), (response) => {
      response.writeHead(416);
      response.end();
    });
    await pullTiny(hub);
    assertWhole(hub);
    assert.equal(
      hub.seen.filter(({ method, path }) => method === "HEAD" && path.includes("model-1")).length,
      2,
    );
  });
});

test("a server without ranges sends its files whole", async () => {
  await withHub(tinyFiles(), async (hub) => {
    let cuts = 1;
    hub.misbehave = (seen, response) => {
      if (!isPart(seen)) return false;
      const content = hub.files.get(seen.path.slice(1).split("?")[0])!;
      response.writeHead(200, { "content-length": content.length });
      if (seen.headers.range !== undefined || cuts-- <= 0) response.end(content);
      else {
        response.write(content.subarray(0, 1000));
        setTimeout(() => response.destroy(), 20);
      }
      return true;
    };
    await pullTiny(hub);
    assertWhole(hub);
  });
});
