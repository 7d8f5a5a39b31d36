import { expect, test } from 'vitest';
import { secondsLeft, shownState, stateText } from './node-state.ts';

const node = { state: 'attached', serving: 0, openCalls: 0 };

test('a node is busy with calls in either direction, and away, draining or gone as the sentinel reports it', () => {
  expect(shownState(node)).toBe('attached');
  expect(shownState({ ...node, serving: 1 })).toBe('busy');
  expect(shownState({ ...node, openCalls: 1 })).toBe('busy');
  expect(shownState({ ...node, state: 'detached', serving: 1 })).toBe('away');
  expect(shownState({ ...node, isDraining: true, serving: 1 })).toBe('draining');
  expect(shownState({ ...node, state: 'gone' })).toBe('gone');
});

test('the resume window of an away node counts down and stops at zero', () => {
  const away = { ...node, state: 'detached', resumeMs: 30_000 };
  expect([0, 1, 29_000, 60_000].map((age) => secondsLeft(away, age))).toEqual([30, 30, 1, 0]);
  expect(secondsLeft({ ...node, resumeMs: 30_000 }, 0)).toBeUndefined();
  expect(stateText(away, 10_000)).toBe('away, 20 s left');
  expect(stateText({ ...node, state: 'detached' }, 0)).toBe('away');
});

test('the text of a busy node counts its calls', () => {
  expect(stateText({ ...node, serving: 1 }, 0)).toBe('busy, 1 call');
  expect(stateText({ ...node, serving: 1, openCalls: 2 }, 0)).toBe('busy, 3 calls');
});
