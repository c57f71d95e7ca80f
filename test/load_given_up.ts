/**
 * A program whose first model is given up while its texts are read; it catches that, and goes on.
 * @module
 */
import { load } from "../mod.ts";

const giveUp = new AbortController();
const loading = load("minnow", { backend: "reference", signal: giveUp.signal });
giveUp.abort(new Error("enough")); // the engine is refused before anything waits for it
const said = await loading.then(() => "loaded", (error: Error) => error.message);
await new Promise((resolve) => setTimeout(resolve)); // a rejection that nobody took ends the program by now
console.log(said);
