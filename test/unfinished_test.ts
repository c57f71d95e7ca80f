import assert from "node:assert/strict";
import { mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { removeAbandoned, unfinishedPath } from "../src/unfinished.ts";
import { abandonedPath } from "./abandoned.ts";
import { withFolder } from "./checkpoint/write_safetensors.ts";

const hourAgo = Date.now() / 1000 - 3700;

test("what dead processes were making goes, files and folders, and nothing else", () =>
  withFolder({}, (folder) => {
    const place = join(folder, "a model"), other = join(folder, "b");
    const dead = [abandonedPath(place), abandonedPath(place)];
    writeFileSync(dead[0], "half");
    mkdirSync(join(dead[1], "x", "y"), { recursive: true });
    writeFileSync(join(dead[1], "x", "y", "z"), "half");
    const stays = [
      place,
      unfinishedPath(place), // ours, which live
      abandonedPath(other), // of another place
      `${place}.partial`,
      `${place}.partial-5c1c0000-${process.pid}`,
      `${place}.partial-0123abcd-99999999999-0123abcd`,
    ];
    for (const path of stays) writeFileSync(path, "whole");
    removeAbandoned(folder, (name) => name === "a model");
    assert.deepEqual(readdirSync(folder).sort(), stays.map((path) => basename(path)).sort());
    removeAbandoned(join(folder, "none"), () => true);
  }));

test("where a process cannot be asked for, what nobody wrote to for an hour is nobody's", () =>
  withFolder({}, (folder) => {
    const place = join(folder, "x");
    const ofOthers = (path: string) => path.replace(/partial-[0-9a-f]{8}-/, "partial-00000000-");
    const [old, fresh, oldFolder, freshFolder] = Array.from(
      { length: 4 },
      () => ofOthers(unfinishedPath(place)),
    );
    for (const path of [old, fresh]) writeFileSync(path, "");
    for (const path of [oldFolder, freshFolder]) {
      mkdirSync(path);
      writeFileSync(join(path, "shard"), "");
    }
    utimesSync(join(oldFolder, "shard"), hourAgo, hourAgo);
    for (const path of [old, oldFolder, freshFolder]) utimesSync(path, hourAgo, hourAgo);
    removeAbandoned(folder, () => true);
    assert.deepEqual(readdirSync(folder).sort(), [fresh, freshFolder].map((path) => basename(path)).sort());
  }));
