/**
 * The memory checkers: how each is built for and run, what it must see in canary.c, and how much of a
 * recording it goes through.
 * @module
 */

/** A memory checker. */
export interface Checker {
  readonly name: string;
  /** For the compiler and the linker. */
  readonly flags: readonly string[];
  /** What runs the program, with its arguments; none where the program is checked by itself. */
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Tests in C, by their stem, and their arguments. */
  readonly programs: Readonly<Record<string, readonly string[]>>;
  /** Mistakes of canary.c that it must see. */
  readonly sees: readonly string[];
  /** Whether it goes on after a fault that is caught by jumping out of the signal's handler. */
  readonly survivesFaults: boolean;
  /** Sees nothing in what one thread does. */
  readonly needsThreads: boolean;
  /** Instruction sets that it knows, by their number in ops.h. */
  readonly isas: readonly number[];
  /** Time of recorded calls, as they ran without a checker, that is replayed beyond what must be. */
  readonly budgetMs: number;
}

const everyIsa = [0, 1, 2, 3, 4, 5];

/** In the order in which they run. */
export const checkers: readonly Checker[] = [
  {
    name: "address,undefined",
    flags: ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    command: [],
    environment: { ASAN_OPTIONS: "allocator_may_return_null=1:detect_stack_use_after_return=1" },
    programs: { handles: [], pool: [], guard: [], ops: [], isas: ["300"] },
    sees: ["past a buffer", "past a step buffer", "overflow"],
    survivesFaults: true,
    needsThreads: false,
    isas: everyIsa,
    budgetMs: Infinity,
  },
  {
    name: "thread",
    flags: ["-fsanitize=thread"],
    command: [],
    environment: {},
    programs: { handles: [], pool: [], ops: [] },
    sees: ["race"],
    survivesFaults: false,
    needsThreads: true,
    isas: everyIsa,
    budgetMs: 2000,
  },
  {
    name: "valgrind",
    flags: ["-DUNDER_VALGRIND"],
    command: [
      ...["valgrind", "--quiet", "--error-exitcode=9", "--fair-sched=try"],
      ...["--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"],
    ],
    environment: {},
    // pool asks the clock how long it took, guard has children that end by a signal.
    programs: { handles: [], ops: ["3000"], isas: ["20"] },
    sees: ["past a buffer", "past a step buffer", "unwritten"],
    survivesFaults: true,
    needsThreads: false,
    // 3.19 has no AVX-512.
    isas: [0, 1, 4, 5],
    budgetMs: 700,
  },
];
