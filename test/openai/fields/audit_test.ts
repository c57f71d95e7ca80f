/**
 * Every field that clients and other servers are known to have, tried: what is honoured changes the answer, what is
 * refused is refused by its name, and the rest changes nothing; streamed and not.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { socketSession } from "../../../src/openai/ws_session.ts";
import { type Handler, type LanguageModel, load, openaiHandler } from "../../../mod.ts";
import { writeDialect } from "../../dialect_folder.ts";
import { chatTables } from "./chat_table.ts";
import { completionTables } from "./completion_table.ts";
import { includable, places } from "./kinds.ts";
import { messagesTables } from "./messages_table.ts";
import { responsesTables } from "./responses_table.ts";
import type { Row, Table } from "./row.ts";
import { serversTables } from "./servers_table.ts";
import { textTables } from "./text_table.ts";
import { type Answer, answerOf } from "./answer.ts";

/** A random network with V3.1's template, which thinks or not, as it is told. */
let model: LanguageModel, handler: Handler;
const folder = mkdtempSync(join(tmpdir(), "hadal-fields-"));
const tests = join(import.meta.dirname!, "../..");

before(async () => {
  model = await load(writeDialect(folder, "v31"));
  handler = openaiHandler(model);
});
after(async () => {
  await model.close();
  rmSync(folder, { recursive: true });
});

/** Answers to what is asked again and again: requests without the field that is tried. */
const asked = new Map<string, Promise<Answer>>();

function ask(path: string, body: object): Promise<Answer> {
  const key = path + JSON.stringify(body);
  const known = asked.get(key) ?? askAnew(path, body);
  asked.set(key, known);
  return known;
}

async function askAnew(path: string, body: object): Promise<Answer> {
  const request = new Request(`http://localhost${path}`, { method: "POST", body: JSON.stringify(body) });
  return await answerOf(await handler(request));
}

/** A request of a table, with these fields at their place and these beside it. */
const bodyOf = ({ base, put = Object.assign }: Table, fields: object, given: object = {}) =>
  put({ ...base, ...given }, fields);

/** An answer and the same one streamed, which have to agree. */
async function both(table: Table, fields: object, given: object = {}): Promise<Answer> {
  const body = bodyOf(table, fields, given);
  const whole = await ask(table.path, body);
  if (table.isWhole || "prompt_logprobs" in body) return whole;
  const streamed = await ask(table.path, { ...body, stream: true });
  assert.equal(streamed.status, whole.status, `${JSON.stringify(body)} streamed: ${streamed.message}`);
  assert.equal(streamed.message, whole.message);
  assert.deepEqual(streamed.said, whole.said, `${JSON.stringify(body)} streamed`);
  return whole;
}

async function tryField(table: Table, field: string, row: Row): Promise<void> {
  const name = (table.prefix ?? "") + field;
  if (row.is === "seen") {
    const source = readFileSync(join(tests, row.file), "utf8");
    assert.ok(source.includes(row.test), `${row.file} has no test ${JSON.stringify(row.test)}`);
    return;
  }
  if (row.is === "needed") {
    const without = await ask(table.path, bodyOf(table, { [field]: undefined }));
    assert.equal(without.status, 400, `${name} left out`);
    assert.ok(without.message?.includes(name), `${name} left out: ${without.message}`);
    return;
  }
  const given = row.is === "harmless" ? {} : row.given;
  const tried = await both(table, { [field]: row.value }, given);
  if (row.is === "refused") {
    assert.equal(tried.status, row.status, `${name}: ${tried.message}`);
    assert.ok(tried.message?.includes(name + row.within), `${name}: ${tried.message}`);
    if (tried.isOpenai) assert.equal(tried.param, name + row.within);
    if (row.nothing.length === 0) return;
    const plain = await both(table, {}, given);
    for (const value of row.nothing) {
      const other = await ask(table.path, bodyOf(table, { [field]: value }, given));
      assert.equal(other.status, 200, `${name} as ${JSON.stringify(value)}: ${other.message}`);
      assert.deepEqual(other.content, plain.content, `${name} as ${JSON.stringify(value)}`);
    }
    return;
  }
  assert.equal(tried.status, 200, `${name}: ${tried.message}`);
  const plain = await both(table, {}, given);
  assert.equal(plain.status, 200, plain.message);
  if (row.is === "harmless") assert.deepEqual(tried.content, plain.content, name);
  else assert.notDeepEqual(tried.content, plain.content, `${name} changes nothing`);
}

const tables = [
  ...chatTables,
  ...completionTables,
  ...responsesTables,
  ...messagesTables,
  ...serversTables,
  ...textTables,
];

for (const table of tables) {
  test(`the fields of ${table.title} are honoured, refused by name, or cannot change a reply`, async () => {
    for (const [field, row] of Object.entries(table.rows)) await tryField(table, field, row);
  });
}

test("a socket refuses the same fields in the same words", async () => {
  let take: (message: Record<string, unknown>) => void = () => {};
  const session = socketSession(
    { send: (text) => take(JSON.parse(text)), bufferedBytes: () => 0, close: () => {} },
    (path, body) => handler(new Request(`http://localhost${path}`, { method: "POST", body })),
  );
  const askThere = (body: object) =>
    new Promise<unknown>((resolve) => {
      let error: unknown = null;
      take = (message) => {
        error ??= message.error;
        if (message.done) resolve(error);
      };
      session.receive(JSON.stringify({ ...body, request_id: 1 }));
    });
  let nRefused = 0;
  for (const table of tables.filter(({ path }) => path.endsWith("/completions"))) {
    for (const [field, row] of Object.entries(table.rows)) {
      if (row.is !== "refused") continue;
      const body = bodyOf(table, { [field]: row.value }, row.given);
      const { content } = await ask(table.path, body);
      assert.deepEqual(await askThere(body), (content as { error: unknown }).error, field);
      nRefused++;
    }
  }
  assert.ok(nRefused > 100);
});

test("a thought is given in the form in which it comes back, streamed and not, where that is asked for", async () => {
  const include = ["reasoning.encrypted_content"];
  const body = { input: [{ role: "user", content: "Look." }], reasoning: { effort: "high" }, temperature: 0 };
  const short = { ...body, max_output_tokens: 6, include };
  const { content } = await ask("/v1/responses", short);
  const { output: [thought] } = content as { output: { type: string; encrypted_content: string }[] };
  assert.equal(thought.type, "reasoning");
  const again = { ...body, max_output_tokens: 6, input: [...body.input, thought, ...body.input] };
  assert.equal((await ask("/v1/responses", again)).status, 200);
  const events = (await ask("/v1/responses", { ...short, stream: true })).content as Record<
    string,
    unknown
  >[];
  const last = events.at(-1) as { response: { output: { encrypted_content: string }[] } };
  assert.equal(last.response.output[0].encrypted_content, thought.encrypted_content);
  const without = (await ask("/v1/responses", { ...short, include: [] })).content as { output: object[] };
  assert.ok(!("encrypted_content" in without.output[0]));
});

test("kinds of parts, items, blocks, tools and choices that are not read are refused where they stand", async () => {
  for (const { path, kinds, bodyOf, param } of places) {
    for (const kind of [...kinds, "anything"]) {
      const { status, message } = await ask(path, bodyOf(kind));
      assert.equal(status, 400, `${param} as ${kind}`);
      assert.ok(message?.includes(`${param}:`), `${kind}: ${message}`);
    }
  }
});

test("what may be included in a response is taken, and nothing else", async () => {
  const body = { input: "Look.", max_output_tokens: 2 };
  const names = Object.keys(includable);
  assert.equal((await ask("/v1/responses", { ...body, include: names })).status, 200);
  const { status, param } = await ask("/v1/responses", { ...body, include: [...names, "anything"] });
  assert.deepEqual([status, param], [400, `include.${names.length}`]);
});
