import { PassThrough } from 'node:stream';
import type { Clock } from '@fame-fabric/shared';
import { describe, expect, test, vi } from 'vitest';
import { TerminalInput, type TerminalInputOptions } from './terminal-input.ts';

function terminal(history: string[] = [], more: Partial<TerminalInputOptions> = {}) {
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
    onMessage: (line) => lines.push(line),
    clock,
    ...more,
  });
  const type = async (text: string): Promise<void> => {
    keys.write(text);
    await new Promise(setImmediate);
    for (const fn of [...due]) fn();
    due.clear();
  };
  return { input, type, keys, lines, output, shown: () => shown, wipe: () => (shown = '') };
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
  expect(shown()).toBe('\r\u001b[JReconnecting...\nQ> hel\r\u001b[6C');
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

test.each([
  ['Alt-Enter', 'one\u001b\rtwo\r', 'one\ntwo'],
  ['a backslash at the end', 'one\\\rtwo\r', 'one\ntwo'],
  ['two backslashes at the end, which begin no line', 'one\\\\\r', 'one\\\\'],
  ['a line feed of a line that was typed before the start', 'one\n', 'one'],
])('%s', async (_name, keys, expected) => {
  const { input, type, lines } = terminal();
  const message = input.read();
  await type(keys);
  expect(await message).toBe(expected);
  expect(lines).toEqual([expected]);
  input.close();
});

test('Ctrl-J begins a line, Up moves to the line above, and Up recalls the whole message', async () => {
  const { input, type } = terminal(['older']);
  const message = input.read();
  await type('one');
  await type('\n');
  await type('two');
  await type('\u001b[A');
  await type('X\r');
  expect(await message).toBe('oneX\ntwo');
  const again = input.read();
  await type('\u001b[A\r');
  expect(await again).toBe('oneX\ntwo');
  input.close();
});

test('a paste of 600 lines is one message and one entry of the history, blank lines included', async () => {
  const { input, type, lines, shown } = terminal();
  const text = Array.from({ length: 600 }, (_, i) => (i % 7 === 0 ? '' : `line ${i}\twith some words`)).join(
    '\n',
  );
  const message = input.read();
  const began = performance.now();
  await type(`\u001b[200~${text.replaceAll('\n', '\r')}\u001b[201~`);
  for (const key of 'the end') await type(key);
  await type('\r');
  expect(await message).toBe(`${text}the end`);
  expect(performance.now() - began).toBeLessThan(10_000);
  expect(lines).toHaveLength(1);
  expect(shown()).toContain('.. (590 more lines)\n');
  const again = input.read();
  await type('\u001b[A\r');
  expect(await again).toBe(`${text}the end`);
  input.close();
});

test('Tab completes commands', async () => {
  const names = ['/help', '/history', '/new'];
  const complete = (text: string) => names.filter((name) => name.startsWith(text));
  const { input, type, shown, wipe } = terminal([], { complete });
  const message = input.read();
  await type('/n\t\r');
  expect(await message).toBe('/new ');
  const second = input.read();
  await type('/\t');
  expect(shown()).toContain('/help  /history  /new\n');
  wipe();
  await type('h\t');
  expect(shown()).toContain('/help  /history\n');
  await type('i\t\r');
  expect(await second).toBe('/history ');
  input.close();
});

test('Ctrl-R searches the history, again for the next older one; Enter sends, another key edits', async () => {
  const { input, type, shown } = terminal(['third apple', 'second pear', 'first Apple pie']);
  const message = input.read();
  await type('\u0012app');
  expect(shown()).toContain('(search) app: third apple');
  await type('\u0012');
  expect(shown()).toContain('(search) app: first Apple pie');
  await type('\r');
  expect(await message).toBe('first Apple pie');
  const second = input.read();
  await type('\u0012pear');
  await type('\u0005!\r');
  expect(await second).toBe('second pear!');
  const third = input.read();
  await type('typed\u0012zzz');
  expect(shown()).toContain('(nothing found) zzz: ');
  await type('\u0007\r');
  expect(await third).toBe('typed');
  input.close();
});

test('Ctrl-Z gives the terminal back, and drawing starts again when the process continues', async () => {
  const modes: boolean[] = [];
  const keys = Object.assign(new PassThrough(), { setRawMode: (isRaw: boolean) => modes.push(isRaw) });
  const suspend = vi.fn();
  const { input, type, shown, wipe } = terminal([], { input: keys, suspend });
  const message = input.read();
  keys.write('half');
  await type('');
  keys.write('\u001a');
  await new Promise(setImmediate);
  expect(suspend).toHaveBeenCalledTimes(1);
  expect(modes).toEqual([true, false]);
  expect(shown()).toContain('Q> half');
  expect(shown()).toMatch(/\n\u001b\[\?2004l$/);
  wipe();
  process.emit('SIGCONT');
  expect(modes).toEqual([true, false, true]);
  expect(shown()).toBe('\u001b[?2004hQ> half\r\u001b[7C');
  keys.write(' done\r');
  await type('');
  expect(await message).toBe('half done');
  input.close();
  expect(modes.at(-1)).toBe(false);
});

test('a process that continues draws the prompt once, also if its timers run before the event SIGCONT', async () => {
  const { input, type, shown } = terminal([], { suspend: vi.fn() });
  void input.read();
  await type('half');
  await type('\u001a'); // runs the timers
  process.emit('SIGCONT');
  await new Promise(setImmediate);
  const continued = shown().split('\u001b[?2004l')[1];
  expect(continued).toBe('\u001b[?2004hQ> half\r\u001b[7C');
  input.close();
});

test('a Ctrl-Z that stops nothing leaves the prompt usable', async () => {
  const suspend = vi.fn();
  const { input, type } = terminal([], { suspend });
  const message = input.read();
  await type('\u001a');
  await new Promise(setImmediate);
  await type('hi\r');
  expect(await message).toBe('hi');
  input.close();
});

test('wide characters, tabs and control characters keep the cursor in place', async () => {
  const { input, type, shown, wipe } = terminal();
  const message = input.read();
  await type('a你\u001b[200~\t\u001b[201~👨‍👩‍👧');
  wipe();
  await type('\u001b[D\u001b[D');
  expect(shown()).toBe('\r\u001b[JQ> a你    👨‍👩‍👧\r\u001b[6C');
  await type('\u007f你\r');
  expect(await message).toBe('a你\t👨‍👩‍👧');
  input.close();
});

test('a narrower terminal draws the text again in its width', async () => {
  const { input, type, shown, wipe, output } = terminal();
  const message = input.read();
  await type('x'.repeat(60));
  wipe();
  output.columns = 41;
  output.emit('resize');
  expect(shown()).toBe(`\u001b[1A\r\u001b[JQ> ${'x'.repeat(37)}\n${'x'.repeat(23)}\r\u001b[23C`);
  await type('\r');
  expect(await message).toBe('x'.repeat(60));
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
    expect(
      shown()
        .split('\n')
        .filter((row) => row.includes('Sure? ')),
    ).toHaveLength(2);
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
    const message = input.read();
    await type('\r');
    expect(await message).toBe('y');
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
