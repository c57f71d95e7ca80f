/** A Worker that says what it was told, and dies of the word "die". */
import { otherSide } from "../../src/engine/thread.ts";

const port = otherSide<string, string>();
port.listen((message) => {
  if (message === "die") throw new RangeError("the word was said");
  port.postMessage(message);
});
