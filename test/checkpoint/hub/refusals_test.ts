/** What a pull cannot do is said in one sentence, and leaves nothing behind. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pull } from "../../../src/checkpoint/hub/pull.ts";
import { atFirst, commit, isPart, modelId, noise, tinyFiles, withHub } from "./hub_server.ts";
import { assertWhole, pullTiny, refuses, repo } from "./pulled.ts";

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
