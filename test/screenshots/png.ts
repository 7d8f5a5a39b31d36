// Makes PNG files of screenshots smaller: 256 colours at most, and the best compression. Browsers write 24-bit PNG files quickly.
import { crc32, deflateSync, inflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const MAX_COLOURS = 256;

interface Image {
  readonly width: number;
  readonly height: number;
  /** Colours as 0xRRGGBB, row by row. */
  readonly pixels: Uint32Array;
}

/** Encodes a PNG file again with a palette. Rare colours become the nearest of the frequent ones. @throws if the format differs from that of Chromium */
export const smallPng = (file: Buffer): Buffer => encode(decode(file));

/** Decodes 8-bit RGB, RGBA or palette images without interlacing. Alpha is ignored, because pages are opaque. */
export function decode(file: Buffer): Image {
  if (!file.subarray(0, 8).equals(SIGNATURE)) throw new Error('The file is not a PNG.');
  const data: Buffer[] = [];
  let header: Buffer | undefined;
  let palette: Buffer | undefined;
  for (let at = 8; at < file.length; ) {
    const length = file.readUInt32BE(at);
    const type = file.toString('latin1', at + 4, at + 8);
    const content = file.subarray(at + 8, at + 8 + length);
    if (type === 'IHDR') header = content;
    else if (type === 'PLTE') palette = content;
    else if (type === 'IDAT') data.push(content);
    at += 12 + length;
  }
  const bytes = { 2: 3, 3: 1, 6: 4 }[header?.[9] ?? 0];
  if (header?.[8] !== 8 || bytes === undefined || header[12] !== 0) {
    throw new Error('The PNG must have 8 bits and no interlacing.');
  }
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const samples = unfilter(inflateSync(Buffer.concat(data)), width * bytes, bytes);
  const channels = palette ? withColours(samples, palette) : samples;
  return { width, height, pixels: pixelsOf(channels, palette ? 3 : bytes) };
}

function withColours(indices: Uint8Array, palette: Uint8Array): Uint8Array {
  const channels = new Uint8Array(indices.length * 3);
  indices.forEach((index, at) => {
    channels.set(palette.subarray(index * 3, index * 3 + 3), at * 3);
  });
  return channels;
}

/** Reverses the filters of the rows (PNG specification, section 9). */
function unfilter(raw: Buffer, rowBytes: number, bytes: number): Uint8Array {
  const height = raw.length / (rowBytes + 1);
  const out = new Uint8Array(rowBytes * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (rowBytes + 1)];
    for (let x = 0; x < rowBytes; x++) {
      const at = y * rowBytes + x;
      const left = x >= bytes ? out[at - bytes]! : 0;
      const up = y > 0 ? out[at - rowBytes]! : 0;
      const corner = x >= bytes && y > 0 ? out[at - rowBytes - bytes]! : 0;
      const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter!];
      if (predicted === undefined) throw new Error(`The PNG has an unknown filter ${filter}.`);
      out[at] = raw[y * (rowBytes + 1) + 1 + x]! + predicted;
    }
  }
  return out;
}

function paeth(left: number, up: number, corner: number): number {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

function pixelsOf(channels: Uint8Array, bytes: number): Uint32Array {
  const pixels = new Uint32Array(channels.length / bytes);
  for (let index = 0, at = 0; index < pixels.length; index++, at += bytes) {
    pixels[index] = (channels[at]! << 16) | (channels[at + 1]! << 8) | channels[at + 2]!;
  }
  return pixels;
}

/** Encodes with a palette. Rows are not filtered: differences of palette indices mean nothing. */
export function encode({ width, height, pixels }: Image): Buffer {
  const counts = new Map<number, number>();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  const colours = [...counts].sort((a, b) => b[1] - a[1]).map(([colour]) => colour);
  const palette = paletteOf(colours);
  const places = new Map(palette.map((colour, index) => [colour, index]));
  const indices = new Map(colours.map((colour) => [colour, places.get(colour) ?? nearest(palette, colour)]));
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) rows[y * (width + 1) + 1 + x] = indices.get(pixels[y * width + x]!)!;
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk(
      'PLTE',
      Buffer.from(palette.flatMap((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255])),
    ),
    chunk('IDAT', deflateSync(rows, { level: 9, memLevel: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/**
 * Chooses the colours that are kept of `colours`, most frequent first. At first one of each part of the colour space, since a small dot
 * must keep its colour beside the many shades of a text.
 */
function paletteOf(colours: readonly number[]): number[] {
  const parts = new Set<number>();
  const distinct = colours.filter((colour) => {
    const part = colour & 0xe0e0e0;
    const isFirst = !parts.has(part);
    parts.add(part);
    return isFirst;
  });
  return [...new Set([...distinct, ...colours])].slice(0, MAX_COLOURS);
}

function nearest(palette: readonly number[], colour: number): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  palette.forEach((one, index) => {
    const distance = [16, 8, 0].reduce(
      (sum, shift) => sum + (((one >> shift) & 255) - ((colour >> shift) & 255)) ** 2,
      0,
    );
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}

function chunk(type: string, content: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), content]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(content.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}
