import { PassThrough } from 'node:stream';
import type { Clock } from '@fame-fabric/shared';
import { describe, expect, test, vi } from 'vitest';
import { TerminalInput } from './terminal-input.ts';

function terminal(history: string[] = []) {
  const keys = new PassThrough();
  const output = Object.assign(new PassThrough(), { columns: 80, rows: 24 });
  let shown = '';
  output.on('data', (chunk: Buffer) => {
    shown += chunk.toString();
  });
  // The test decides when fast input is flushed.
  const due = new Set<() => void>();
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    after: (_ms, fn) => {
      due.add(fn);
      return { stop: () => due.delete(fn) };
    },
    every: () => ({ stop: () => {} }),
  };
  const lines: string[] = [];
  const input = new TerminalInput({
    input: keys,
    output,
    prompt: 'Q> ',
    continuation: '.. ',
    history,
    onLine: (line) => lines.push(line),
    clock,
  });
  const type = async (text: string): Promise<void> => {
    keys.write(text);
    await new Promise(setImmediate);
    for (const fn of [...due]) fn();
    due.clear();
  };
  return { input, type, keys, lines, shown: () => shown, wipe: () => (shown = '') };
}

test('a typed line is a message, behind the prompt', async () => {
  const { input, type, shown, lines } = terminal();
  const message = input.read();
  await type('hello\r');
  expect(await message).toBe('hello');
  expect(shown()).toContain('Q> ');
  expect(lines).toEqual(['hello']);
  input.close();
});

test('a bracketed paste of several lines is one message, sent with Enter', async () => {
  const { input, type } = terminal();
  const message = input.read();
  await type('see:\u001b[200~one\ntwo\nexit\nthree\u001b[201~');
  await type('!\r');
  expect(await message).toBe('see:one\ntwo\nexit\nthree!');
  input.close();
});

test('lines that arrive faster than a person types are one message, unless one is a command', async () => {
  const { input, type } = terminal();
  const pasted = input.read();
  await type('one\rtwo\r');
  expect(await pasted).toBe('one\ntwo');
  const first = input.read();
  await type('hi\rexit\r');
  expect(await first).toBe('hi');
  expect(await input.read()).toBe('exit');
  input.close();
});

test('input typed while an answer is written is not echoed, and appears at the next prompt', async () => {
  const { input, type, shown, wipe } = terminal();
  const first = input.read();
  await type('one\r');
  await first;
  wipe();
  await type('two\rthr');
  expect(shown()).toBe('');
  expect(await input.read()).toBe('two');
  expect(shown()).toBe('Q> two\n');
  const third = input.read();
  await type('ee\r');
  expect(await third).toBe('three');
  input.close();
});

test('Ctrl-C clears the typed text; on an empty line it interrupts', async () => {
  const { input, type } = terminal();
  const onInterrupt = vi.fn();
  input.onInterrupt = onInterrupt;
  const message = input.read();
  await type('wrong');
  await type('\u0003');
  expect(onInterrupt).not.toHaveBeenCalled();
  await type('\u0003');
  expect(onInterrupt).toHaveBeenCalledTimes(1);
  await type('right\r');
  expect(await message).toBe('right');
  input.close();
});

test('Ctrl-C drops the lines of a paste that was not sent', async () => {
  const { input, type } = terminal();
  const message = input.read();
  await type('\u001b[200~one\ntwo\u001b[201~');
  await type('\u0003');
  await type('three\r');
  expect(await message).toBe('three');
  input.close();
});

test('Ctrl-D on an empty line ends the input', async () => {
  const { input, type } = terminal();
  const message = input.read();
  await type('\u0004');
  expect(await message).toBeUndefined();
  expect(await input.read()).toBeUndefined();
});

test('a note is written above the line that is being typed', async () => {
  const { input, type, shown, wipe } = terminal();
  const message = input.read();
  await type('hel');
  wipe();
  input.note('Reconnecting...\n');
  await new Promise(setImmediate);
  expect(shown()).toMatch(/Reconnecting\.\.\.\n[\s\S]*Q> hel/);
  await type('lo\r');
  expect(await message).toBe('hello');
  input.close();
});

test('the arrow key recalls lines of earlier runs', async () => {
  const { input, type } = terminal(['newest', 'older']);
  const message = input.read();
  await type('\u001b[A\u001b[A\r');
  expect(await message).toBe('older');
  input.close();
});

describe('a question', () => {
  const isReply = (text: string): boolean => /^[yn]$/.test(text);

  test('takes the next line that is a reply; the history and the messages omit it', async () => {
    const { input, type, shown, lines } = terminal();
    const reply = input.question('Sure? ', { isReply, signal: new AbortController().signal });
    await type('maybe\r');
    await type('y\r');
    expect(await reply).toBe('y');
    expect(shown().match(/Sure\? /g)).toHaveLength(2);
    const message = input.read();
    await type('\u001b[A'); // the line before, of which there is none
    await type('hi\r');
    expect(await message).toBe('hi');
    expect(lines).toEqual(['hi']);
    input.close();
  });

  test('leaves what was typed ahead for the next message', async () => {
    const { input, type } = terminal();
    await type('first\ry');
    const reply = input.question('Sure? ', { isReply, signal: new AbortController().signal });
    await type('n\r');
    expect(await reply).toBe('n');
    expect(await input.read()).toBe('first');
    const next = input.read();
    await type('es please\r');
    expect(await next).toBe('yes please');
    input.close();
  });

  test('takes no pasted text as its reply', async () => {
    const { input, type } = terminal();
    const reply = input.question('Sure? ', { isReply, signal: new AbortController().signal });
    await type('\u001b[200~y\u001b[201~\r');
    await type('n\r');
    expect(await reply).toBe('n');
    expect(await input.read()).toBe('y');
    input.close();
  });

  test('ends when it is withdrawn, at Ctrl-C through the caller, and with the input', async () => {
    const { input, type, shown } = terminal();
    const stop = new AbortController();
    input.onInterrupt = () => stop.abort();
    const reply = input.question('Sure? ', { isReply, signal: stop.signal });
    await type('ye\u0003');
    expect(await reply).toBe(undefined);
    const message = input.read();
    await type('hi\r');
    expect(await message).toBe('hi');
    const last = input.question('Sure? ', { isReply, signal: new AbortController().signal });
    await type('\u0004');
    expect(await last).toBe(undefined);
    expect(await input.question('Sure? ', { isReply, signal: new AbortController().signal })).toBe(undefined);
    expect(shown().endsWith('\n')).toBe(true);
  });
});
