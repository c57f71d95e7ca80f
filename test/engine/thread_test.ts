import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { startThread } from "../../src/engine/thread.ts";
import { runtime } from "../../src/runtime.ts";
import { withFolder } from "../checkpoint/write_safetensors.ts";

const module = new URL("./dying_worker.ts", import.meta.url);

test("a thread answers, and its death is told with the reason", async () => {
  const thread = startThread<string>(module);
  const answer = Promise.withResolvers<string>(), death = Promise.withResolvers<string>();
  thread.listen({ message: answer.resolve, death: death.resolve });
  thread.postMessage("hello");
  assert.equal(await answer.promise, "hello");
  thread.postMessage("die");
  assert.equal(await death.promise, "failed: the word was said");
  thread.end();
});

test("a thread whose module is not there dies", async () => {
  const death = Promise.withResolvers<string>();
  const thread = startThread<string>(new URL("./no_such_module.ts", import.meta.url));
  thread.listen({ message: death.reject, death: death.resolve });
  assert.match(await death.promise, /no_such_module/);
  thread.end();
});

test("a program ends before a thread that it has let go of, and not before one that it holds", () => {
  const thread = JSON.stringify(new URL("../../src/engine/thread.ts", import.meta.url).href);
  const program = `import { startThread } from ${thread};
    const thread = startThread(new URL(${JSON.stringify(module.href)}));
    thread.unref();
    thread.unref();
    thread.ref();
    thread.ref();
    thread.listen({
      message: (message) => {
        console.log(message);
        thread.unref();
      },
      death: console.error,
    });
    thread.postMessage("held until this came");`;
  const allow = runtime.name === "deno" ? ["--no-check", "-A"] : [];
  withFolder({ "program.ts": program }, (folder) => {
    const words = ["run", ...allow, `${folder}/program.ts`];
    const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: "utf8" });
    assert.equal(stderr, "");
    assert.deepEqual([status, stdout], [0, "held until this came\n"]);
  });
});
