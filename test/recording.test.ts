// The picture of README.md, which `npm run recording` makes: how it is drawn, and what an image on a web page may contain.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from './kit/processes.ts';
import type { Frame, Row } from './recording/frames.ts';
import { drawSvg } from './recording/svg.ts';

const MAX_BYTES = 200_000;

const row = (text: string, column = 0): Row => [{ column, text, isDim: false, isBold: false }];
const frame = (atMs: number, ...rows: Row[]): Frame => ({
  atMs,
  panes: [{ rows, cursor: { column: 0, row: rows.length } }],
});
const draw = (...frames: Frame[]): string =>
  drawSvg({
    about: 'A "test" & more',
    terminals: [{ title: 'T', columns: 20, rows: 2 }],
    frames,
    durationMs: 1_000,
  });

test('a row that changes is shown for its time, and the last content stays without animations', () => {
  const svg = draw(frame(0, row('same'), row('one')), frame(250, row('same'), row('two <b>')));
  expect(svg.match(/>same</g)).toHaveLength(1);
  expect(svg).toMatch(/<g class="a k0">.*>one</);
  expect(svg).toContain('@keyframes k0{0%{visibility:visible}25%{visibility:hidden}}');
  expect(svg).toMatch(/<g class="a z k1">.*>two &#60;b&#62;</);
  expect(svg).toContain('@keyframes k1{0%{visibility:hidden}25%{visibility:visible}}');
  expect(svg).toContain('animation:1s step-end infinite');
  expect(svg).toContain('<title>A &#34;test&#34; &#38; more</title>');
});

test('text has the colour, the column and the width of its cells', () => {
  const svg = draw(frame(0, [{ column: 3, text: 'ok', foreground: 2, isDim: true, isBold: false }]));
  expect(svg).toContain('x="39.2" y="58" textLength="16.8" fill="#3fb950" opacity=".65">ok</text>');
  expect(() =>
    draw(frame(0, [{ column: 0, text: 'x', foreground: 99, isDim: false, isBold: false }])),
  ).toThrow('no colour 99');
});

test('docs/recording.svg is small, loads nothing, runs no script, and ends with the whole answer', () => {
  const svg = readFileSync(join(ROOT, 'docs/recording.svg'), 'utf8');
  expect(svg.length).toBeLessThan(MAX_BYTES);
  expect(svg).not.toMatch(/<script|<image|<foreignObject|href=|url\(|@import|\son\w+=/);
  expect(svg).toContain('@media (prefers-reduced-motion:reduce)');
  const last = svg.split('\n').flatMap((line) => line.match(/<g class="a z.*?<\/g>|<g><text.*?<\/g>/g) ?? []);
  const text = last.map((group) => group.replace(/<[^>]+>/g, '').replaceAll('&#62;', '>')).join('\n');
  expect(text).toMatch(/A>.*I sing to you of a message,\n[\s\S]*\nthat it was asked to get\.\nQ>/);
  expect(text.match(/kill -9/g)?.length).toBeGreaterThan(0);
});
