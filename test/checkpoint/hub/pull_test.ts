import assert from "node:assert/strict";
import {
  existsSync,
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
import type { DownloadProgress } from "../../../src/checkpoint/hub/progress.ts";
import { pull, type PullOptions } from "../../../src/checkpoint/hub/pull.ts";
import { DownloadError } from "../../../src/errors.ts";
import {
  atFirst,
  blobName,
  commit,
  type Hub,
  isPart,
  type Misbehaviour,
  modelId,
  noise,
  type Seen,
  tinyFiles,
  withHub,
} from "./hub_server.ts";

const repo = (hub: Hub) => join(hub.cache, "models--deep-see--tiny");
const needed = [
  "config.json",
  "model-1.safetensors",
  "model-2.safetensors",
  "model.safetensors.index.json",
  "tokenizer.json",
];

/** Asserts that the cache holds what a model needs, byte for byte, and nothing in part. */
function assertWhole(hub: Hub): void {
  const snapshot = join(repo(hub), "snapshots", commit);
  assert.deepEqual(readdirSync(snapshot).sort(), needed);
  for (const path of needed) {
    assert.ok(Buffer.compare(readFileSync(join(snapshot, path)), hub.files.get(path)!) === 0, path);
  }
  const blobs = needed.map((path) => blobName(hub.files.get(path)!)).sort();
  assert.deepEqual(readdirSync(join(repo(hub), "blobs")).sort(), blobs);
  assert.deepEqual(readdirSync(join(hub.cache, ".locks", "models--deep-see--tiny")), []);
}

const pullTiny = (hub: Hub, options?: PullOptions) => pull(modelId, hub.settings(), options);

/** Asserts a DownloadError in one sentence. */
async function refuses(act: Promise<unknown>, message: RegExp, status?: number): Promise<void> {
  await assert.rejects(act, (error) => {
    assert.ok(error instanceof DownloadError, `${error}`);
    assert.match(error.message, message);
    assert.match(error.message, /^Cannot fetch [^\n]*[^.]$/);
    if (status !== undefined) assert.equal(error.status, status);
    return true;
  });
}

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

test("connections that are cut go on where they ended", async () => {
  await withHub(tinyFiles(), async (hub) => {
    let cuts = 0;
    hub.misbehave = ({ host, method, headers, path }, response) => {
      if (host !== "store" || method !== "GET" || cuts >= 6) return false;
      cuts++;
      const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(headers.range!)!;
      const content = hub.files.get(path.slice(1).split("?")[0])!;
      const size = Number(end) + 1 - Number(begin);
      response.writeHead(206, {
        "content-length": size,
        "content-range": `bytes ${begin}-${end}/${content.length}`,
      });
      response.write(content.subarray(Number(begin), Number(begin) + Math.floor(size / 2)));
      setTimeout(() => response.destroy(), 20);
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
    const patience = { idleMs: 100, tries: 3, firstWaitMs: 5, longestWaitMs: 1000 };
    hub.misbehave = atFirst(2, isPart, (response, { headers }) => {
      const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(headers.range!)!;
      response.writeHead(206, { "content-range": `bytes ${begin}-${end}/3000000` });
      response.write("x".repeat(0));
    });
    await pull(modelId, hub.settings({ patience }));
    assertWhole(hub);
    hub.files.set("config.json", noise(20));
    hub.misbehave = ({ path }) => path.endsWith("config.json"); // for ever
    const again = pull(modelId, hub.settings({ patience, cache: `${hub.cache}/other` }));
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
      const [first, second] = [...times.values()].find(({ length }) => length === 2)!;
      if (i === 0) assert.ok(second - first >= 1000, "it waits as long as it is told");
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
        const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(seen.headers.range!)!.map(Number);
        const content = hub.files.get(seen.path.slice(1).split("?")[0])!;
        response.writeHead(206, headers(begin, end, content.length));
        const body = new Uint8Array(end + 1 - begin + Math.max(0, extra));
        body.set(content.subarray(begin, end + 1)); // in "another range" right bytes with a wrong label
        response.end(extra < 0 ? body.subarray(0, 3) : body);
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
        const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(seen.headers.range!)!.map(Number);
        response.writeHead(206, { "content-range": `bytes ${begin}-${end}/1500001` });
        response.end(new Uint8Array(end + 1 - begin));
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
        const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(seen.headers.range!)!.map(Number);
        const content = hub.files.get("model-1.safetensors")!;
        response.writeHead(206, {
          "content-range": `bytes ${begin}-${end}/${content.length}`,
          "etag": `"store-${blobName(content).slice(0, 8)}"`,
        });
        response.end(content.subarray(begin, end + 1));
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

test("a web page in place of an answer is named, and never becomes a file", async () => {
  const page = "<!DOCTYPE html><title>Log in to the wireless network</title>";
  const send = (status: number) =>
    atFirst(Infinity, () => true, (response) => {
      response.writeHead(status, { "content-type": "text/html" });
      response.end(page);
    });
  await withHub(tinyFiles(), async (hub) => {
    hub.misbehave = send(200);
    await refuses(pullTiny(hub), /does not answer as a hub.*"<!DOCTYPE html>.*text\/html/, 200);
    hub.misbehave = atFirst(Infinity, ({ method }) => method === "HEAD", (response) => {
      response.writeHead(200, { "content-type": "text/html", "content-length": page.length });
      response.end();
    });
    await refuses(pullTiny(hub), /tells no hash and size of it, a web page is there/);
    hub.misbehave = (seen, response) => isPart(seen) && send(200)(seen, response) as boolean;
    await refuses(pullTiny(hub), /text\/html|announces|another file|ended after|sends/);
    assert.ok(!existsSync(join(repo(hub), "refs")));
  });
});

test("refusals of the hub say what is needed", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const say = (status: number, headers = {}) =>
      hub.misbehave = atFirst(Infinity, () => true, (response) => {
        response.writeHead(status, headers);
        response.end();
      });
    say(401);
    await refuses(pullTiny(hub), /answers 401, .* a token that may read it is needed \(HF_TOKEN\)/, 401);
    say(403, { "x-error-message": "Access to model is restricted" });
    await refuses(pullTiny(hub), /answers 403, it says "Access to model is restricted"/, 403);
    say(404);
    await refuses(pullTiny(hub), /no such model, revision or file/, 404);
    hub.misbehave = () => false;
    await refuses(pullTiny(hub, { revision: "none" }), /deep-see\/tiny at "none": .* 404/);
  });
});

test("the token goes to the hub and not to the server that it points to", async () => {
  await withHub(tinyFiles(), async (hub) => {
    await pull(modelId, hub.settings({ token: "hf_secret" }));
    for (const { host, headers } of hub.seen) {
      assert.equal(headers.authorization, host === "hub" ? "Bearer hf_secret" : undefined);
    }
    // Neither when that server points back.
    const cache = join(hub.cache, "other");
    hub.misbehave = atFirst(
      Infinity,
      (seen) => seen.host === "store" && seen.path.includes("model"),
      (response, { path }) => {
        response.writeHead(302, { location: `${hub.url}/back${path}` });
        response.end();
      },
    );
    await refuses(pull(modelId, hub.settings({ token: "hf_secret", cache })), /answers 404/);
    const back = hub.seen.filter(({ path }) => path.startsWith("/back"));
    assert.ok(back.length > 0 && back.every(({ headers }) => headers.authorization === undefined));
  });
});

test("redirects that go round, or to no http, are refused", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const leadTo = (location: string) =>
      hub.misbehave = atFirst(Infinity, ({ path }) => path.startsWith("/api"), (response) => {
        response.writeHead(307, { location });
        response.end();
      });
    leadTo("/api/models/x");
    await refuses(pullTiny(hub), /from URL to URL, more than 10 times/);
    for (const location of ["file:///etc/passwd", "data:application/json,{}", "http://", "javascript:1"]) {
      leadTo(location);
      await refuses(pullTiny(hub), /it leads to ".*", an https URL is needed/);
    }
    hub.misbehave = atFirst(1, ({ path }) => path.includes("/resolve/"), (response, { path }) => {
      response.writeHead(307, { location: path }); // as for a model that was renamed
      response.end();
    });
    await pullTiny(hub);
    assertWhole(hub);
  });
});

test("no name from the server leads out of the cache", async () => {
  const names = [
    "../evil.json",
    "/etc/evil.json",
    "a/../../evil.json",
    "C:\\evil.json",
    "a\\..\\evil.json",
    "a//evil.json",
    "./evil.json",
    "nul.json",
    "evil.json ",
    "a/..",
  ];
  for (const name of names) {
    await withHub({ ...tinyFiles(), [name]: noise(10) }, async (hub) => {
      await refuses(pullTiny(hub, { patterns: { include: ["*"], exclude: [] } }), /is no name for a file/);
      assert.ok(!existsSync(join(hub.cache, "models--deep-see--tiny")), name);
      await pullTiny(hub); // files that are not wanted do no harm
    });
  }
  const headers: [Record<string, string>, RegExp][] = [
    [{ "x-linked-etag": '"../../../evil"', "x-linked-size": "5" }, /tells no hash and size/],
    [{ "x-linked-etag": `"${"a".repeat(64)}"`, "x-linked-size": "1e3" }, /tells no hash and size/],
    [{ "x-linked-etag": `"${"a".repeat(64)}"`, "x-linked-size": "-1" }, /tells no hash and size/],
    [
      { "x-linked-etag": `"${"a".repeat(64)}"`, "x-linked-size": "99999999999999999999" },
      /tells no hash and size/,
    ],
    [
      { "x-linked-etag": `"${"a".repeat(64)}"`, "x-linked-size": "5", "x-repo-commit": "../x" },
      /commit .* was asked for/,
    ],
  ];
  for (const [found, message] of headers) {
    await withHub(tinyFiles(), async (hub) => {
      hub.misbehave = atFirst(Infinity, ({ method }) => method === "HEAD", (response) => {
        response.writeHead(302, { location: "/x", ...found });
        response.end();
      });
      await refuses(pullTiny(hub), message);
    });
  }
  await withHub(tinyFiles(), async (hub) => {
    hub.misbehave = atFirst(Infinity, ({ path }) => path.startsWith("/api"), (response) => {
      response.end(JSON.stringify({ sha: "../../../evil", siblings: [] }));
    });
    await refuses(pullTiny(hub), /does not answer as a hub/);
  });
});

test("a name or revision that cannot be one is refused before anything is asked", async () => {
  await withHub({}, async (hub) => {
    for (
      const id of [
        "",
        "x",
        "a/b/c",
        "../x",
        "a/..",
        "a/b--c",
        "a/b.git",
        "a b/c",
        "a/b?x",
        "-a/b",
        "a/b#",
        "a/%2e",
      ]
    ) {
      await assert.rejects(pull(id, hub.settings()), { name: "TypeError", message: /^Cannot use the model/ });
    }
    for (const revision of ["", "../x", "a//b", "a\0", "/x", "a/../../b"]) {
      await assert.rejects(pullTiny(hub, { revision }), {
        name: "TypeError",
        message: /^Cannot use the revision/,
      });
    }
    for (const endpoint of ["", "x", "file:///x", "ftp://x", "http://user@x"]) {
      await assert.rejects(pull(modelId, hub.settings({ endpoint })), {
        name: "TypeError",
        message: /the endpoint/,
      });
    }
    assert.equal(hub.seen.length, 0);
  });
});

test("a file larger than the disk is refused before it is fetched", async () => {
  await withHub(tinyFiles(), async (hub) => {
    hub.misbehave = atFirst(
      Infinity,
      ({ method, path }) => method === "HEAD" && path.includes("model-1"),
      (response) => {
        response.writeHead(302, {
          location: "/x",
          "x-linked-etag": `"${"a".repeat(64)}"`,
          "x-linked-size": "900000000000000",
        });
        response.end();
      },
    );
    await assert.rejects(pullTiny(hub), /Cannot write .* 90000\d+ bytes are needed, \d+ are free/);
  });
});

test("a cache that cannot be written is named, and so is a link in it that is in the way", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const file = join(hub.cache, "file");
    writeFileSync(file, "");
    await assert.rejects(
      pull(modelId, hub.settings({ cache: file })),
      /^Error: Cannot write .*file.*(ENOTDIR|not a directory|EEXIST)/i,
    );
    mkdirSync(join(repo(hub), "snapshots", commit, "config.json", "x"), { recursive: true });
    await assert.rejects(pullTiny(hub), /^Error: Cannot write .*config\.json/);
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
    hub.pieceMs = 5;
    let waited = false;
    const onProgress = ({ waitingFor }: DownloadProgress) => waited ||= waitingFor !== null;
    const [a, b] = await Promise.all([pullTiny(hub, { onProgress }), pullTiny(hub, { onProgress })]);
    assert.equal(a.folder, b.folder);
    assertWhole(hub);
    const parts = hub.seen.filter(isPart).map(({ path, headers }) => `${path} ${headers.range}`);
    assert.equal(new Set(parts).size, parts.length);
    assert.ok(waited, "one of them says that it waits");
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

test("a server that is not there is named", async () => {
  let url = "";
  await withHub(tinyFiles(), (hub) => {
    url = hub.url;
    return Promise.resolve();
  });
  await withHub(tinyFiles(), async (hub) => {
    await refuses(
      pull(modelId, hub.settings({ endpoint: url })),
      new RegExp(`the connection to ${new URL(url).host} failed`),
    );
  });
});
