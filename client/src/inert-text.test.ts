import fc from 'fast-check';
import { expect, test } from 'vitest';
import { inert } from './inert-text.ts';

test('escape sequences of terminals are shown, not obeyed', () => {
  expect(inert('\u001b[2J\u001b]0;title\u0007')).toBe('␛[2J␛]0;title␇');
  expect(inert('\u009b31mred')).toBe('\\x9b31mred');
  expect(inert('safe\rrm -rf')).toBe('saferm -rf');
});

test('text, tabs, line feeds and all scripts stay as they are', () => {
  const text = 'Grüße\n\tこんにちは 👋🏽 مرحبا';
  expect(inert(text)).toBe(text);
});

test('no text leaves a control character that a terminal acts on, however its stream is cut', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(), (text, at) => {
      const cut = at % (text.length + 1);
      const whole = inert(text);
      expect(whole).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
      expect(inert(text.slice(0, cut)) + inert(text.slice(cut))).toBe(whole);
    }),
  );
});
