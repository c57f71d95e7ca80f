import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { RequestError } from "../../src/errors.ts";
import { readBody } from "../../src/openai/body.ts";

const schema = z.object({ size: z.number(), list: z.array(z.object({ name: z.string() })).optional() });
const read = (body: BodyInit, maxBytes = 1000) =>
  readBody(
    new Request("http://localhost/", { method: "POST", body, duplex: "half" } as RequestInit),
    schema,
    maxBytes,
  );

async function refusal(body: BodyInit, maxBytes?: number): Promise<RequestError> {
  const error = await read(body, maxBytes).then(() => null, (error) => error);
  assert(error instanceof RequestError, `no RequestError but ${error}`);
  return error;
}

test("known fields are read and unknown ones dropped", async () => {
  assert.deepEqual(await read('{"size": 1, "other": [], "__proto__": {"size": 2}}'), { size: 1 });
});

test("what is no JSON object with the right fields is refused by name", async () => {
  assert.equal((await refusal('{"size": "1"}')).param, "size");
  assert.equal((await refusal('{"size": 1e400}')).param, "size");
  assert.equal((await refusal('{"size": 1, "list": [{"name": "a"}, {}]}')).param, "list.1.name");
  for (const body of ["", "{", "[]", "null", "1", "size=1", new Uint8Array([0x22, 0xff, 0x22])]) {
    const error = await refusal(body);
    assert.equal(error.status, 400);
    assert.equal(error.param, null);
  }
  assert.equal((await refusal("[".repeat(500) + "]".repeat(500))).status, 400);
});

test("fields are read as their schema as a whole reads them, whichever are there", async () => {
  const fields = {
    a: z.string(),
    b: z.number().nullish().transform((value) => value ?? undefined),
    c: z.boolean().default(true),
    d: z.unknown().refine((value) => value === 0, "it is not supported yet").nullish(),
  };
  const schemas = [
    z.object(fields),
    z.looseObject(fields),
    z.strictObject(fields),
    z.object(fields).refine(({ a }) => a !== "x", "an x"),
  ];
  const bodies = [{}, { a: "x" }, { a: "", b: null, c: false, d: 0 }, { a: 1, b: 1 }, { a: "", e: 1 }];
  for (const schema of schemas) {
    for (const body of [...bodies, { a: "", b: "1" }, { a: "", d: 1 }, [], null]) {
      const request = new Request("http://localhost/", { method: "POST", body: JSON.stringify(body) });
      const expected = schema.safeParse(body);
      const read = await readBody(request, schema, 1000).catch((error) => error);
      if (expected.success) assert.equal(JSON.stringify(read), JSON.stringify(expected.data));
      else assert.equal(read.param, expected.error.issues[0].path.join(".") || null);
    }
  }
});

test("a body that nests without end is refused before anything walks it, brackets in strings aside", async () => {
  const nested = (depth: number) => `{"size": 1, "list": ${"[".repeat(depth)}${"]".repeat(depth)}}`;
  assert.match((await refusal(nested(100_000), 1e6)).message, /nests more than 256 deep/);
  assert.deepEqual(await read(`{"size": 1, "other": "\\"${"[".repeat(500)}"}`), { size: 1 });
});

test("a body over the limit is refused while it arrives", async () => {
  assert.equal((await refusal('{"size": 1}' + " ".repeat(1000))).status, 413);
  let pulled = 0;
  const endless = new ReadableStream({
    pull(controller) {
      pulled++;
      controller.enqueue(new Uint8Array(100).fill(32));
    },
  });
  assert.equal((await refusal(endless)).status, 413);
  assert(pulled < 20, `${pulled} pieces were read`);
});

test("a body that breaks off is the client's mistake", async () => {
  const broken = new ReadableStream({ pull: (controller) => controller.error(new Error("gone")) });
  assert.equal((await refusal(broken)).status, 400);
});

test("a body that is said to be no JSON is refused with 415, and one of which nothing is said is read", async () => {
  const readAs = async (headers: Record<string, string>) => {
    const request = new Request("http://localhost/", { method: "POST", body: '{"size": 1}', headers });
    return await readBody(request, schema, 1000).then(() => 200, (error: RequestError) => error.status);
  };
  for (
    const type of [
      "application/json",
      "Application/JSON; charset=UTF-8",
      "application/vnd.api+json",
      "text/plain;charset=utf-8",
      "application/x-www-form-urlencoded", // curl -d
      "application/octet-stream",
    ]
  ) assert.equal(await readAs({ "content-type": type }), 200, type);
  for (
    const type of [
      "multipart/form-data; boundary=x",
      "image/png",
      "application/xml",
      "application/jsonp",
      "application/json; charset=utf-16",
      "json",
    ]
  ) assert.equal(await readAs({ "content-type": type }), 415, type);
  assert.equal(await readAs({ "content-encoding": "gzip" }), 415);
  assert.equal(await readAs({ "content-encoding": "identity" }), 200);
});

test("where one of several kinds was meant, what is wrong inside it is named", async () => {
  const kinds = z.object({
    size: z.union([z.string(), z.array(z.union([z.object({ a: z.number() }), z.number()]))]),
  });
  const problem = async (size: unknown) => {
    const request = new Request("http://localhost/", { method: "POST", body: JSON.stringify({ size }) });
    return (await readBody(request, kinds, 1000).catch((error) => error)).param;
  };
  assert.equal(await problem([1, { a: "b" }]), "size.1.a");
  assert.equal(await problem(1), "size");
  assert.equal(await problem([1, "b"]), "size.1");
});
