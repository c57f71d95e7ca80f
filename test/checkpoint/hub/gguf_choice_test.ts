import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseGguf, ggufChoices } from "../../../src/checkpoint/hub/gguf_choice.ts";
import { DownloadError } from "../../../src/errors.ts";

const paths = [
  "README.md",
  "V3-UD-Q4_K_M.gguf",
  "V3.IQ4_XS.gguf",
  "BF16/V3-BF16-00002-of-00002.gguf",
  "BF16/V3-BF16-00001-of-00002.gguf",
  "imatrix.gguf",
  "mmproj-F16.gguf",
  "Q2_K/V3-00001-of-00001.gguf",
];

test("a quantisation is found by its name in the path, whatever its case, and split ones come whole", () => {
  const chosen = (wanted: string) => chooseGguf(paths, wanted, "a/b").paths;
  assert.deepEqual(chosen(":Q4_K_M"), ["V3-UD-Q4_K_M.gguf"]);
  assert.deepEqual(chosen(":ud-q4_k_m"), ["V3-UD-Q4_K_M.gguf"]);
  assert.deepEqual(chosen(":iq4_xs"), ["V3.IQ4_XS.gguf"]);
  assert.deepEqual(chosen(":Q2_K"), ["Q2_K/V3-00001-of-00001.gguf"]);
  const parts = ["BF16/V3-BF16-00001-of-00002.gguf", "BF16/V3-BF16-00002-of-00002.gguf"];
  assert.deepEqual(chosen(":bf16"), parts);
  assert.deepEqual(chosen("/BF16/V3-BF16-00001-of-00002.gguf"), parts);
  assert.equal(ggufChoices(paths).length, 4, "no tables, and each split model once");
});

test("what is ambiguous, absent or in part is refused, and the names that would do are listed", () => {
  const refuses = (among: readonly string[], wanted: string, message: RegExp) =>
    assert.throws(() => chooseGguf(among, wanted, "a/b"), (error: unknown) => {
      assert.ok(error instanceof DownloadError, `${error}`);
      assert.match(error.message, message);
      return true;
    });
  refuses(
    paths,
    "",
    /it has 4 GGUF models, its name with one of these is needed: ":BF16", ":Q2_K", ":UD-Q4_K_M", ":IQ4_XS"$/,
  );
  refuses(paths, ":Q4_XS", /none is ":Q4_XS"/); // it is in IQ4_XS
  refuses(paths, ":Q4_K", /none is ":Q4_K"/); // and this in Q4_K_M
  refuses(paths, "/V3.gguf", /none is "\/V3\.gguf"/);
  refuses(["a-Q8_0.gguf", "b-Q8_0.gguf"], ":Q8_0", /needed: "\/a-Q8_0\.gguf", "\/b-Q8_0\.gguf"$/);
  refuses(
    paths.filter((path) => !path.includes("00002-of")),
    ":BF16",
    /V3-BF16-00002-of-00002\.gguf is missing/,
  );
  refuses(["x-00001-of-99999.gguf"], "", /x-00002-of-99999\.gguf is missing/);
  refuses(["README.md"], ":Q4", /it has no GGUF file/);
  const many = Array.from({ length: 40 }, (_, i) => `${i}.gguf`);
  refuses(many, "", /40 GGUF models.*, …$/);
});
