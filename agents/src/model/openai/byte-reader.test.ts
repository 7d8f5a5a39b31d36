import { Readable } from 'node:stream';
import { settle } from '@fame-fabric/shared/testing';
import { expect, it } from 'vitest';
import { byteReader } from './byte-reader.ts';

const stream = (): Readable => new Readable({ read() {} });
const textOf = (pieces: readonly Uint8Array[] | undefined): string[] | undefined =>
  pieces?.map((piece) => new TextDecoder().decode(piece));

it('returns pieces that arrive together as one read, and the next ones as another', async () => {
  const body = stream();
  const reader = byteReader(body);
  const first = reader.next();
  await settle();
  body.push('a');
  body.push('b');
  expect(textOf(await first)).toEqual(['a', 'b']);
  const second = reader.next();
  body.push('c');
  body.push(null);
  expect(textOf(await second)).toEqual(['c']);
  expect(await reader.next()).toBeUndefined();
  expect(await reader.next()).toBeUndefined();
});

it('pauses a stream whose reader is late, and loses nothing', async () => {
  const body = stream();
  const reader = byteReader(body);
  const first = reader.next();
  await settle();
  body.push('first');
  await first;
  const piece = 'x'.repeat(40_000);
  for (let n = 0; n < 4; n += 1) body.push(piece);
  body.push(null);
  await settle();
  expect(body.isPaused()).toBe(true);
  let chars = 0;
  for (let pieces = await reader.next(); pieces; pieces = await reader.next()) {
    for (const { length } of pieces) chars += length;
  }
  expect(chars).toBe(160_000);
});

it('returns what arrived before an error, then throws the error', async () => {
  const body = stream();
  const reader = byteReader(body);
  const first = reader.next();
  await settle();
  body.push('a');
  body.destroy(new Error('broken'));
  expect(textOf(await first)).toEqual(['a']);
  await expect(reader.next()).rejects.toThrow('broken');
});

it('throws the error of a stream that failed before it was read', async () => {
  const body = stream();
  body.on('error', () => {});
  body.destroy(new Error('broken'));
  await settle();
  await expect(byteReader(body).next()).rejects.toThrow('broken');
});

it('reports a stream that was closed before its end', async () => {
  const body = stream();
  const reader = byteReader(body);
  const first = reader.next();
  body.destroy();
  await expect(first).rejects.toMatchObject({ code: 'ECONNRESET' });
});

it('reads a web stream', async () => {
  const reader = byteReader(new Response('whole').body!);
  expect(textOf(await reader.next())).toEqual(['whole']);
  expect(await reader.next()).toBeUndefined();
});
