/**
 * Chunks of a stream as JSON. Those of plain text differ in a few words: what stands around these is written
 * once, which is most of what a token costs the server.
 * @module
 */

/** A text that no chunk has. */
const hole = crypto.randomUUID();

/**
 * @param make makes a chunk that has the text once, as a value
 * @returns JSON of the chunks that it makes of texts
 */
export function chunkText(make: (text: string) => object): (text: string) => string {
  const [before, after] = JSON.stringify(make(hole)).split(JSON.stringify(hole));
  return (text) => before + JSON.stringify(text) + after;
}

/** As `chunkText`, for chunks of several kinds: each is made when it is first met. */
export function chunkTexts<K>(make: (kind: K, text: string) => object): (kind: K, text: string) => string {
  const known = new Map<K, (text: string) => string>();
  return (kind, text) => {
    let json = known.get(kind);
    if (json === undefined) known.set(kind, json = chunkText((text) => make(kind, text)));
    return json(text);
  };
}
