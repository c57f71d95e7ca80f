/** Which hadal this is: deno.json and package.json say the same. */
export const version = "0.1.0";
