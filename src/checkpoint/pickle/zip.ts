/**
 * The table of a zip archive as PyTorch writes them: entries one after the other, ZIP64 where needed.
 * Everything else that a zip may be is refused, so that no two readers see two contents in one file.
 * Format: PKWARE APPNOTE 6.3.10, §4.3 and §4.5.3.
 * @module
 */
import { CheckpointError } from "../../errors.ts";
import { shown } from "../../json_scanner.ts";
import type { ByteSource } from "../file.ts";

/** A file in the archive; its bytes lie in the archive as they are. */
export interface ZipEntry {
  readonly name: string;
  /** First byte in the archive. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** Whether the bytes are those of the file; others are compressed and can only be told of. */
  readonly isStored: boolean;
}

const localSignature = 0x04034b50, centralSignature = 0x02014b50;
const endSignature = 0x06054b50, end64Signature = 0x06064b50, locator64Signature = 0x07064b50;
const localBytes = 30, centralBytes = 46, endBytes = 22, end64Bytes = 56, locator64Bytes = 20;
/** Longest directory that is read, and entries in it: each is looked up where it lies. */
const mostDirectoryBytes = 10_000_000, mostEntries = 50_000;

/**
 * @returns the entries by name
 * @throws {CheckpointError} for damage, and for what PyTorch does not write
 */
export function readZip(file: ByteSource): Map<string, ZipEntry> {
  const { start, end, count } = findDirectory(file);
  const bytes = file.read(start, end - start);
  const entries: (ZipEntry & { readonly localOffset: number })[] = [];
  const names = new Set<string>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    const { entry, next } = readCentral(file, bytes, at, start);
    if (names.has(entry.name)) throw wrong(file, `it has ${shown(entry.name)} twice`);
    names.add(entry.name);
    entries.push(entry);
    at = next;
  }
  if (at !== bytes.length) {
    throw wrong(file, `its directory has ${bytes.length - at} bytes more than ${count} entries`);
  }
  let free = 0;
  for (
    const { name, localOffset, offset, sizeBytes } of entries.toSorted((a, b) =>
      a.localOffset - b.localOffset
    )
  ) {
    if (localOffset < free) throw wrong(file, `${shown(name)} overlaps the entry before it`);
    free = offset + sizeBytes;
  }
  return new Map(entries.map(({ localOffset: _, ...entry }) => [entry.name, entry]));
}

interface Directory {
  readonly start: number;
  readonly end: number;
  readonly count: number;
}

function findDirectory(file: ByteSource): Directory {
  // A comment could hold a second end of another archive: none is allowed.
  const at = file.sizeBytes - endBytes;
  const end = at < 0 ? null : viewOf(file.read(at, endBytes));
  if (end === null || end.getUint32(0, true) !== endSignature || end.getUint16(20, true) !== 0) {
    throw wrong(file, "it does not end as an archive of PyTorch does, it may be cut off");
  }
  let count = end.getUint16(10, true);
  let size = end.getUint32(12, true), start = end.getUint32(16, true);
  let directoryEnd = at;
  let disks = end.getUint16(4, true) + end.getUint16(6, true);
  const locatorAt = at - locator64Bytes;
  const locator = locatorAt < 0 ? null : viewOf(file.read(locatorAt, locator64Bytes));
  if (locator?.getUint32(0, true) === locator64Signature) {
    directoryEnd = size64(file, locator, 8);
    if (directoryEnd + end64Bytes > locatorAt) throw wrong(file, "its ZIP64 end lies outside of it");
    const end64 = viewOf(file.read(directoryEnd, end64Bytes));
    if (end64.getUint32(0, true) !== end64Signature) {
      throw wrong(file, "its ZIP64 end is not where it should be");
    }
    count = size64(file, end64, 32);
    [size, start] = [size64(file, end64, 40), size64(file, end64, 48)];
    disks = end64.getUint32(16, true) + end64.getUint32(20, true);
  }
  if (disks !== 0) throw wrong(file, "it is a part of an archive over several disks");
  if (size > mostDirectoryBytes) {
    throw wrong(file, `its directory claims ${size} bytes, at most ${mostDirectoryBytes} are read`);
  }
  if (count > mostEntries) throw wrong(file, `it has ${count} entries, at most ${mostEntries} are read`);
  if (start + size !== directoryEnd || count * centralBytes > size) {
    throw wrong(
      file,
      `its directory claims ${count} entries in bytes ${start} to ${
        start + size
      }, it ends at byte ${directoryEnd}`,
    );
  }
  return { start, end: directoryEnd, count };
}

function readCentral(file: ByteSource, bytes: Uint8Array, at: number, directoryStart: number) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const has = (size: number) => at + size <= bytes.length;
  if (!has(centralBytes) || view.getUint32(at, true) !== centralSignature) {
    throw wrong(file, `its directory is damaged at byte ${directoryStart + at}`);
  }
  const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
  const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => view.getUint16(at + field, true));
  const next = at + centralBytes + nameBytes + extraBytes + commentBytes;
  if (!has(next - at)) throw wrong(file, `its directory is damaged at byte ${directoryStart + at}`);
  const rawName = bytes.subarray(at + centralBytes, at + centralBytes + nameBytes);
  const name = decodeName(file, rawName);
  const what = shown(name);
  if (flags & 1) throw wrong(file, `${what} is encrypted`);
  const extra = bytes.subarray(at + centralBytes + nameBytes, next - commentBytes);
  const [unpackedBytes, sizeBytes, localOffset] = zip64Values(file, extra, [
    view.getUint32(at + 24, true),
    view.getUint32(at + 20, true),
    view.getUint32(at + 42, true),
  ]);
  const isStored = method === 0;
  if (isStored && unpackedBytes !== sizeBytes) {
    throw wrong(file, `${what} has ${sizeBytes} bytes in ${unpackedBytes}, stored ones are equal`);
  }
  if (localOffset + localBytes > directoryStart) {
    throw wrong(file, `${what} begins at byte ${localOffset}, in the directory`);
  }
  const local = viewOf(file.read(localOffset, localBytes));
  const localName = local.getUint16(26, true);
  const offset = localOffset + localBytes + localName + local.getUint16(28, true);
  if (offset + sizeBytes > directoryStart) {
    throw wrong(
      file,
      `${what} ends at byte ${offset + sizeBytes}, the directory begins at ${directoryStart}`,
    );
  }
  const isSame = local.getUint32(0, true) === localSignature && local.getUint16(8, true) === method &&
    localName === nameBytes && !(local.getUint16(6, true) & 1) &&
    file.read(localOffset + localBytes, localName).every((byte, i) => byte === rawName[i]);
  if (!isSame) throw wrong(file, `${what} has another header than the directory says`);
  return { entry: { name, offset, sizeBytes, isStored, localOffset }, next };
}

/** Replaces values that do not fit 32 bits by those of the ZIP64 extra field, in its order. */
function zip64Values(file: ByteSource, extra: Uint8Array, values: readonly number[]): number[] {
  if (!values.includes(0xffffffff)) return [...values];
  const view = new DataView(extra.buffer, extra.byteOffset, extra.byteLength);
  for (let at = 0; at + 4 <= extra.length;) {
    const [id, size] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    if (id === 1 && at + 4 + size <= extra.length) {
      let field = at + 4;
      return values.map((value) => {
        if (value !== 0xffffffff) return value;
        if (field + 8 > at + 4 + size) throw wrong(file, "a ZIP64 field of its directory is too short");
        field += 8;
        return size64(file, view, field - 8);
      });
    }
    at += 4 + size;
  }
  throw wrong(file, "its directory lacks a ZIP64 field");
}

function size64(file: ByteSource, view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(file.sizeBytes)) {
    throw wrong(file, `it claims ${value} bytes, it holds ${file.sizeBytes}`);
  }
  return Number(value);
}

function decodeName(file: ByteSource, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw wrong(file, "a name in it is no UTF-8");
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function wrong(file: ByteSource, problem: string): CheckpointError {
  return new CheckpointError(file.path, problem);
}
