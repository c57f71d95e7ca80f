/**
 * A server that has what is published, as JSR has it, on loopback.
 * @module
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join, normalize } from "node:path";

export const root = join(import.meta.dirname!, "../..");
const published: string[] = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")).publish.include;

/** A server, and the paths that it was asked for. */
export interface PackageServer {
  readonly url: string;
  readonly asked: readonly string[];
}

/**
 * @param answer what a path is answered with instead: bytes, a status, or null for the file
 */
export async function withPackageServer<T>(
  body: (server: PackageServer) => Promise<T>,
  answer: (path: string) => Uint8Array | number | null = () => null,
): Promise<T> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url!, "http://localhost").pathname).slice(1);
    asked.push(path);
    const found = answer(path) ?? fileAt(path);
    if (typeof found === "number") return void response.writeHead(found).end();
    const type = path.endsWith(".ts") ? "text/typescript" : "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-length": found.length }).end(found);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    return await body({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, asked });
  } finally {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
}

function fileAt(path: string): Uint8Array | number {
  if (!published.some((each) => path === each || path.startsWith(`${each}/`))) return 404;
  try {
    return readFileSync(join(root, path));
  } catch {
    return 404;
  }
}
