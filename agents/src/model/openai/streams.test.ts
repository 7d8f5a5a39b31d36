// Replays streams of model servers, in the form of published traces, cut at every byte. `streams/*.txt` are the bodies, and
// `streams/expected.json` has the expected reading of each.
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ModelChunk } from '../model.ts';
import { readReply } from '../stream/read-reply.ts';
import { CompletionBody } from './completion-body.ts';

const FOLDER = join(import.meta.dirname, 'streams');
const expected = JSON.parse(readFileSync(join(FOLDER, 'expected.json'), 'utf8')) as Record<string, Reading>;
const names = globSync('*.txt', { cwd: FOLDER })
  .map((file) => basename(file, '.txt'))
  .sort();

interface Reading {
  text: string;
  reasoning?: string;
  calls?: string[];
  finish?: string;
  tokens?: number;
  provider?: unknown;
  error?: string;
}

/** Reads a body that arrives in these pieces. */
async function read(pieces: readonly Uint8Array[]): Promise<Reading> {
  async function* chunks(): AsyncGenerator<ModelChunk, void> {
    async function* bytes(): AsyncGenerator<Uint8Array> {
      yield* pieces;
    }
    const body = new CompletionBody({ body: bytes() });
    for (let more = await body.next(); more; more = await body.next()) yield* more;
  }
  let text = '';
  let reasoning = '';
  const calls: string[] = [];
  const seen = (): Reading => ({
    text,
    ...(reasoning === '' ? {} : { reasoning }),
    ...(calls.length === 0 ? {} : { calls }),
  });
  try {
    const { message, finish, usage } = await readReply(chunks(), {
      callId: (index) => `id${index}`,
      onText: (more) => {
        text += more;
        return undefined;
      },
      onReasoning: (more) => {
        reasoning += more;
      },
      onCall: ({ id, name, rawArguments, ok }) =>
        calls.push(`${id} ${name}(${rawArguments})${ok ? '' : ' fault'}`),
    });
    expect(message.content ?? '').toBe(text);
    return {
      ...seen(),
      finish,
      ...(usage ? { tokens: usage.total_tokens } : {}),
      ...(message.provider ? { provider: message.provider } : {}),
    };
  } catch (error) {
    return { ...seen(), error: (error as Error).message };
  }
}

test('every stream has its expected reading', () => {
  expect(names.length).toBeGreaterThanOrEqual(30);
  expect(Object.keys(expected).sort()).toEqual(names);
});

describe.each(names)('%s', (name) => {
  const body = readFileSync(join(FOLDER, `${name}.txt`));

  test('in one piece', async () => {
    expect(await read([body])).toEqual(expected[name]);
  });

  test('cut in two at every byte', async () => {
    for (let at = 1; at < body.length; at += 1) {
      expect(await read([body.subarray(0, at), body.subarray(at)])).toEqual(expected[name]);
    }
  });

  test('in pieces of every size up to 16 bytes', async () => {
    for (let size = 1; size <= 16; size += 1) {
      const pieces = Array.from({ length: Math.ceil(body.length / size) }, (_, n) =>
        body.subarray(n * size, (n + 1) * size),
      );
      expect(await read(pieces)).toEqual(expected[name]);
    }
  });
});
