import fc from 'fast-check';
import { expect, test } from 'vitest';
import { escapeControls, escapeLine, printableJson } from './escape-controls.ts';

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

test('escape sequences become visible', () => {
  expect(escapeControls('\u001b[2J\u001b]0;title\u0007')).toBe('␛[2J␛]0;title␇');
  expect(escapeControls('\u009b31mred')).toBe('\\x9b31mred');
  expect(escapeControls('\u007f')).toBe('␡');
});

test('a carriage return is removed', () => {
  expect(escapeControls('safe\rrm -rf\r\n')).toBe('saferm -rf\n');
});

test('bidirectional controls become visible', () => {
  expect(escapeControls('user\u202e\u2066 // admin\u2069\u2066')).toBe(
    'user\\u202e\\u2066 // admin\\u2069\\u2066',
  );
  expect(escapeControls('\u061c\u200e\u200f')).toBe('\\u061c\\u200e\\u200f');
});

test('text of all scripts, tabs and line feeds are unchanged', () => {
  const text = 'Grüße\n\tこんにちは 👋🏽 مرحبا';
  expect(escapeControls(text)).toBe(text);
});

test('no control survives, wherever a stream is cut', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(), (text, at) => {
      const cut = at % (text.length + 1);
      const whole = escapeControls(text);
      expect(whole).not.toMatch(CONTROL);
      expect(escapeControls(text.slice(0, cut)) + escapeControls(text.slice(cut))).toBe(whole);
    }),
  );
});

test('a line has no line break', () => {
  expect(escapeLine('one\r\n two\tthree\u001b')).toBe('one two three␛');
});

test('JSON for a terminal has no control in it and parses to the same value', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const json = printableJson({ text });
      expect(json).not.toMatch(/[\u0000-\u001f\u2028\u2029]/);
      expect(json).not.toMatch(CONTROL);
      expect(JSON.parse(json)).toEqual({ text });
    }),
  );
  expect(printableJson('\u202e\u009b')).toBe('"\\u202e\\u009b"');
  expect(printableJson(undefined)).toBe('null');
});
