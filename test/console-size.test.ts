// The built console: its size on the wire, and nothing in it that its content policy forbids.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { ROOT } from './kit/processes.ts';

const PAGE = join(ROOT, 'console/dist/page');
const LIMIT_BYTES = 200 * 1024;

test('the page is at most 200 KB compressed', () => {
  expect(existsSync(PAGE), 'npm run build first').toBe(true);
  const files = ['index.html', ...readdirSync(join(PAGE, 'assets')).map((name) => `assets/${name}`)];
  expect(files.some((name) => name.endsWith('.js'))).toBe(true);
  const bytes = files.reduce((sum, name) => sum + gzipSync(readFileSync(join(PAGE, name))).length, 0);
  expect(bytes).toBeLessThanOrEqual(LIMIT_BYTES);
});

test('the page has no inline script or style, and loads files of its own folder only', () => {
  const html = readFileSync(join(PAGE, 'index.html'), 'utf8');
  expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/);
  const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link!);
  expect(links.length).toBeGreaterThanOrEqual(3);
  for (const link of links) {
    expect(link).toMatch(/^\.\/assets\//);
    expect(existsSync(join(PAGE, link))).toBe(true);
  }
});

test('the licences of the bundled packages are part of the page', () => {
  const text = readFileSync(join(PAGE, 'licenses.md'), 'utf8');
  for (const name of ['preact', '@preact/signals', 'nanoid', 'marked', 'uplot']) expect(text).toContain(name);
});
