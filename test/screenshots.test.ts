// The pictures of docs/console.md, which `npm run screenshots` takes: how their files are made, and that each screen has two.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { ROOT } from './kit/processes.ts';
import { decode, encode } from './screenshots/png.ts';

const read = (file: string): Buffer => readFileSync(join(ROOT, file));
const PICTURES = globSync('docs/console/*.png', { cwd: ROOT }).sort();
const MAX_BYTES = 120 * 1_024;

/** An image whose pixel `n` has the colour `colourOf(n)`. */
const image = (width: number, height: number, colourOf: (index: number) => number) => ({
  width,
  height,
  pixels: Uint32Array.from({ length: width * height }, (_, index) => colourOf(index)),
});

test('an image of 256 colours keeps all of its pixels, and a rare colour becomes the nearest one', () => {
  const few = image(32, 16, (index) => (index % 256) * 0x010101);
  expect(decode(encode(few))).toEqual(few);
  // 0x2b2b2c occurs once, and the others twice.
  const many = image(32, 16, (index) => (index === 511 ? 0x2b2b2c : (index % 256) * 0x010101));
  expect(decode(encode(many)).pixels[511]).toBe(0x2b2b2b);
});

test('the filters of the rows are reversed', () => {
  const rows = [
    [0, 10, 20, 30, 40, 50, 60],
    [1, 10, 20, 30, 30, 30, 30],
    [2, 1, 1, 1, 2, 2, 2],
    [3, 5, 5, 5, 0, 0, 0],
    [4, 1, 1, 1, 3, 3, 3],
  ];
  const expected = [
    [0x0a141e, 0x28323c],
    [0x0a141e, 0x28323c],
    [0x0b151f, 0x2a343e],
    [0x0a0f14, 0x1a2129],
    [0x0b1015, 0x1d242c],
  ];
  expect([...decode(rgbFile(2, rows)).pixels]).toEqual(expected.flat());
});

/** A PNG file of RGB rows that begin with their filter. Its chunks have no checksum. */
function rgbFile(width: number, rows: readonly (readonly number[])[]): Buffer {
  const chunk = (type: string, content: Buffer): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(content.length);
    return Buffer.concat([length, Buffer.from(type), content, Buffer.alloc(4)]);
  };
  const header = Buffer.from([0, 0, 0, width, 0, 0, 0, rows.length, 8, 2, 0, 0, 0]);
  return Buffer.concat([
    encode(image(1, 1, () => 0)).subarray(0, 8),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.from(rows.flat()))),
  ]);
}

test('each screen has a picture in light and in dark, of 1280 by 800 pixels, and docs/console.md shows it', () => {
  const screens = readFileSync(join(ROOT, 'console/src/app/screens.ts'), 'utf8');
  const ids = [...screens.matchAll(/^ {4}id: '(\w+)'/gm)].map(([, id]) => id!);
  expect(PICTURES).toEqual(
    ids.flatMap((id) => [`docs/console/${id}-dark.png`, `docs/console/${id}-light.png`]).sort(),
  );
  const text = read('docs/console.md').toString();
  for (const file of PICTURES) {
    const picture = read(file);
    expect([picture.readUInt32BE(16), picture.readUInt32BE(20)], file).toEqual([1_280, 800]);
    expect(picture.length, file).toBeLessThan(MAX_BYTES);
    expect(text).toContain(file.replace('docs/', ''));
  }
});
