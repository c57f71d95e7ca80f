/**
 * Pages of which origins may ask from a browser.
 * @module
 */

/** "*" for all. */
export type Origins = "*" | readonly string[];

/** What a browser sends: never with a path, always in small letters; "null" is that of a page from a file. */
const originPattern = /^([a-z][a-z0-9+.-]*:\/\/[^\s/?#A-Z]+|null)$/;

/**
 * @param cors the option: one origin, several, true for all
 * @throws {TypeError} for what no page's origin can be, and what would let nobody in
 */
export function originsOf(cors: unknown): Origins {
  if (cors === undefined || cors === false) return [];
  const origins: readonly unknown[] = Array.isArray(cors) ? cors : [cors];
  if (origins.includes(true) || origins.includes("*")) return "*";
  const wrong = origins.find((origin) => typeof origin !== "string" || !originPattern.test(origin));
  if (origins.length > 0 && wrong === undefined) return origins as readonly string[];
  const found = origins.length === 0 ? "an empty list" : JSON.stringify(wrong) ?? typeof wrong;
  throw new TypeError(
    `Cannot use cors: ${found} was given, an origin such as "https://page.example", "*" or true is needed`,
  );
}
