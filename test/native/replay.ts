/**
 * Chooses the sessions of a recording that a checker goes through, and replays them.
 * @module
 */
import { copyFileSync, linkSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Built, programOf } from "./build.ts";
import type { Checker } from "./checkers.ts";
import { coarse } from "./coverage.ts";
import { type Ended, run } from "./command.ts";
import { generation, type Recorded } from "./recorded.ts";
import type { Session } from "./recording.ts";

/** Sessions that a checker replays, and what of the recording they are. */
export interface Chosen {
  readonly sessions: ReadonlySet<Session>;
  /** Kinds of calls in them, and in all that the checker could replay: {@linkcode Session.covers}. */
  readonly nKinds: number;
  readonly nKindsOfAll: number;
  /** Instruction sets that the checker does not know. */
  readonly isasLeftOut: readonly number[];
}

/** All sessions that a checker can replay, or the cheapest that cover most kinds of calls within its budget. */
export function choose(recorded: readonly Recorded[], checker: Checker): Chosen {
  const all = recorded.flatMap(({ sessions }) => sessions);
  const isasLeftOut = [...new Set(all.flatMap(({ isas }) => isas))].filter((isa) =>
    !checker.isas.includes(isa)
  );
  const able = all.filter(({ isas, threads, truncates }) =>
    isas.every((isa) => checker.isas.includes(isa)) && (!checker.needsThreads || threads > 1) &&
    (checker.survivesFaults || truncates.length === 0)
  );
  const sessions = new Set(able.filter(({ name }) => name.startsWith(generation)));
  // What decides which code runs is covered at any cost, the rest as far as the budget goes.
  cover(sessions, able, ({ covers }) => covers.map(coarse), Infinity);
  cover(sessions, able, ({ covers }) => covers, checker.budgetMs);
  const kinds = (of: Iterable<Session>) => new Set([...of].flatMap(({ covers }) => covers)).size;
  return { sessions, nKinds: kinds(sessions), nKindsOfAll: kinds(able), isasLeftOut };
}

/** Adds the sessions that cover most for their time, until all is covered or the budget is spent. */
function cover(
  sessions: Set<Session>,
  able: readonly Session[],
  kindsOf: (session: Session) => readonly string[],
  budgetMs: number,
): void {
  const left = new Set(able.flatMap(kindsOf));
  for (const session of sessions) for (const kind of kindsOf(session)) left.delete(kind);
  const waiting = new Map(
    able.filter((session) => !sessions.has(session)).map((session) => [session, new Set(kindsOf(session))]),
  );
  while (left.size > 0) {
    let best: Session | null = null, most = 0;
    for (const [session, kinds] of waiting) {
      let worth = 0;
      for (const kind of kinds) if (left.has(kind)) worth++;
      worth /= session.ms + 0.1;
      if (worth > most && session.ms <= budgetMs) [best, most] = [session, worth];
    }
    if (best === null) return;
    sessions.add(best);
    budgetMs -= best.ms;
    for (const kind of waiting.get(best)!) left.delete(kind);
    waiting.delete(best);
  }
}

/** A program's replay, and how it ended. */
export interface Replayed extends Ended {
  readonly what: string;
}

/**
 * Replays the chosen sessions, then the smallest program's again with a mistake in the recording, which must
 * be seen.
 */
export async function* replay(
  built: Built,
  recorded: readonly Recorded[],
  { sessions: chosen }: Chosen,
): AsyncGenerator<Replayed> {
  const command = await programOf(built, "replay.c");
  const folder = filesFor(built, recorded, chosen);
  const list = join(built.folder, "list");
  const { environment } = built.checker;
  const replayOne = ({ path, sessions }: Recorded, bytes: string): Promise<Ended> => {
    const lines = sessions.filter((session) => chosen.has(session)).map(({ offset, sizeBytes, name }) =>
      `${offset} ${sizeBytes} ${name}\n`
    );
    writeFileSync(list, lines.join(""));
    return run([...command, `${path}.calls`, bytes, list], { folder, environment });
  };

  const some = recorded.filter(({ sessions }) => sessions.some((session) => chosen.has(session)));
  for (const program of some) {
    const ended = await replayOne(program, `${program.path}.bytes`);
    yield { what: `replay of ${program.name}: ${lastLine(ended.words)}`, ...ended };
  }
  const size = ({ sessions }: Recorded) => sessions.reduce((sum, { calls }) => sum + calls, 0);
  const smallest = some.reduce((least, program) => size(program) < size(least) ? program : least);
  const changed = join(built.folder, "changed");
  // Any of these bytes was given or read back: the results of the last session would be others.
  const bytes = readFileSync(`${smallest.path}.bytes`).map((byte) => byte ^ 1);
  writeFileSync(changed, bytes);
  const { isGood, words } = await replayOne(smallest, changed);
  const isSeen = !isGood && words.includes("when recorded");
  yield { what: "a replay with other bytes than were recorded fails", isGood: isSeen, words };
}

/** @returns a folder with the mapped files; another checker may be at work with the same ones */
function filesFor(
  { folder: parent }: Built,
  recorded: readonly Recorded[],
  chosen: ReadonlySet<Session>,
): string {
  const folder = join(parent, "files");
  mkdirSync(folder);
  const changed = new Set([...chosen].flatMap(({ truncates }) => truncates));
  const source = dirname(recorded[0].path);
  for (const name of readdirSync(source).filter((name) => !name.includes("."))) {
    (changed.has(name) ? copyFileSync : linkSync)(join(source, name), join(folder, name));
  }
  return folder;
}

function lastLine(words: string): string {
  return words.trim().split("\n").at(-1)!;
}
