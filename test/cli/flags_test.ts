import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { test } from "node:test";
import { forParseArgs, readFlags } from "../../src/cli/flags.ts";
import { generationFlags, generationOptions } from "../../src/cli/generation_flags.ts";
import { modelFlags, modelOptions } from "../../src/cli/model_flags.ts";
import { withFolder } from "../checkpoint/write_safetensors.ts";

const parse = (args: string[], flags: Parameters<typeof forParseArgs>[0]) =>
  parseArgs({ args, options: forParseArgs(flags) }).values;
const generation = (...args: string[]) => generationOptions(parse(args, generationFlags));
const model = (...args: string[]) => modelOptions(parse(args, modelFlags), undefined);

test("flags of generation are options of the API", () => {
  assert.deepEqual(generation(), {});
  assert.deepEqual(
    generation(
      "--max-tokens",
      "8",
      "--temperature",
      ".5",
      "--presence-penalty=-1",
      "--stop",
      "a",
      "--stop",
      "b",
    ),
    { maxTokens: 8, temperature: 0.5, presencePenalty: -1, stop: ["a", "b"] },
  );
  assert.deepEqual(generation("--thinking-token-budget", "64"), { thinkingTokenBudget: 64 });
  assert.deepEqual(generation("--beam-width", "4", "--beam-length-penalty", "0.5", "--no-thinking"), {
    beam: { width: 4, lengthPenalty: 0.5 },
    thinking: false,
  });
  assert.deepEqual(generation("--json-schema", '{"type": "object"}', "--json-object"), {
    jsonSchema: { type: "object" },
    jsonObject: true,
  });
});

test("a form may stand in a file", () =>
  withFolder({ "schema.json": '{"type": "string"}', "rules.txt": 'root ::= "a"' }, (folder) => {
    assert.deepEqual(
      generation("--json-schema", `@${folder}/schema.json`, "--grammar", `@${folder}/rules.txt`),
      {
        jsonSchema: { type: "string" },
        grammar: 'root ::= "a"',
      },
    );
    assert.throws(
      () => generation("--grammar", `@${folder}/none`),
      /^Error: --grammar: .*none cannot be read/,
    );
  }));

test("flags of the model are options of load", () => {
  const { source, options } = model();
  assert.equal(source, "minnow");
  assert.deepEqual(options, {
    threads: undefined,
    kvCache: { dtype: undefined, memory: undefined },
    prefixCache: undefined,
    hugePages: undefined,
    mtp: undefined,
    hub: { revision: undefined, offline: undefined },
  });
  const given = model(
    ...[
      "--model",
      "m",
      "--threads",
      "2",
      "--kv-cache",
      "int8",
      "--kv-memory",
      "1 GiB",
      "--context-length",
      "9",
    ],
    ...[
      "--prefix-cache",
      "f",
      "--prefix-cache-bytes",
      "1 MiB",
      "--no-mtp",
      "--revision",
      "r",
      "--weights",
      "int4",
    ],
  );
  assert.equal(given.source, "m");
  assert.deepEqual(given.options, {
    weights: "int4",
    contextLength: 9,
    threads: 2,
    kvCache: { dtype: "int8", memory: "1 GiB" },
    prefixCache: { folder: "f", maxBytes: "1 MiB" },
    hugePages: undefined,
    mtp: false,
    hub: { revision: "r", offline: undefined },
  });
});

test("what a flag cannot be is refused by its name", () => {
  const wrong: [() => unknown, RegExp][] = [
    [() => generation("--top-k", "many"), /^Error: --top-k: "many" was given, a number is needed$/],
    [() => generation("--seed", ""), /^Error: --seed: "" was given/],
    [() => generation("--seed", "0x10"), /--seed/],
    [() => generation("--json-schema", "{"), /^Error: --json-schema: this is no JSON/],
    [() => generation("--thinking", "--no-thinking"), /--no-thinking/],
    [
      () => model("--threads", "0"),
      /^Error: --threads: "0" was given, a whole number from 1 to 256 is needed$/,
    ],
    [() => model("--context-length", "-1"), /context-length/],
    [() => model("--prefix-cache-bytes", "1 GiB"), /--prefix-cache is needed/],
    [() => model("--prefix-cache", "f", "--no-prefix-cache"), /--no-prefix-cache/],
    [() => modelOptions({ model: "a" }, "b"), /--model: b was given as well/],
    [() => readFlags({ n: "1.5" }, { n: "count" }), /--n: "1.5" was given/],
  ];
  for (const [act, message] of wrong) assert.throws(act, message);
});
