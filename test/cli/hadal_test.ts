import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { version } from "../../src/package/version.ts";
import { runHadal } from "./run_hadal.ts";

test("-h is --help, alone and behind each subcommand", async () => {
  const commands = ["bench", "chat", "convert", "generate", "inspect", "logits", "pull", "quantize", "serve"];
  const asked = await Promise.all(
    [["-h"], ...commands.map((command) => [command, "-h"])].map((args) => runHadal(args)),
  );
  for (const [i, { code, stdout, stderr }] of asked.entries()) {
    assert.equal(code, 0, stderr);
    assert.match(stdout, i === 0 ? /hadal COMMAND --help/ : new RegExp(`hadal ${commands[i - 1]} `));
  }
  for (const command of commands) assert.ok(asked[0].stdout.includes(`hadal ${command} `), command);
});

test("a command that there is not, or none at all, is answered with those that there are", async () => {
  const [unknown, none] = await Promise.all([runHadal(["dive"]), runHadal([])]);
  for (const { code, stdout, stderr } of [unknown, none]) {
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /hadal quantize SOURCE OUT/);
  }
  assert.match(unknown.stderr, /^There is no command dive\n/);
  assert.match(none.stderr, /^A command is needed\n/);
});

test("--version is that of the package", async () => {
  const { code, stdout } = await runHadal(["--version"]);
  assert.equal(code, 0);
  assert.match(stdout, new RegExp(`^hadal ${version}, (deno|bun) \\d+\\.\\d+\\.\\d+\n$`));
  for (const file of ["deno.json", "package.json"]) {
    const text = readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
    assert.equal(JSON.parse(text).version, version, file);
  }
});
