import assert from "node:assert/strict";
import { test } from "node:test";
import { checkHandlerOptions, type HandlerOptions } from "../../src/openai/handler.ts";

test("an option of the handler that is misspelt, or of the wrong kind, is refused by name", () => {
  const wrong: [unknown, RegExp][] = [
    [null, /^TypeError: Cannot use the options: an object is needed$/],
    [{ apikeys: ["secret"] }, /^TypeError: Cannot use the option apikeys: known are apiKeys, hosts/],
    [{ apiKeys: "secret" }, /^TypeError: Cannot use the option apiKeys: an array of keys is needed$/],
    [{ apiKeys: ["two words"] }, /^TypeError: Cannot use apiKeys: .* without spaces are needed$/],
    [{ hosts: "a" }, /^TypeError: Cannot use the option hosts: an array of names is needed$/],
    [{ cors: "page.example" }, /^TypeError: Cannot use cors: "page.example" was given/],
    [{ rateLimit: { perMinute: 5 } }, /^TypeError: Cannot use the option rateLimit.perMinute: known are/],
    [{ modelName: "" }, /^TypeError: Cannot use the option modelName/],
    [{ maxBodyBytes: "1 MB" }, /^TypeError: Cannot use the option maxBodyBytes: a whole number/],
  ];
  for (const [options, message] of wrong) {
    assert.throws(() => checkHandlerOptions(options as HandlerOptions), message);
  }
  assert.equal(checkHandlerOptions({ apiKeys: undefined, cors: "*" }).needsKey, false);
});
