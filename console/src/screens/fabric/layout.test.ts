import { expect, test } from 'vitest';
import { cardAfterKey } from './arrow-keys.ts';
import { type Box, layoutFabric } from './layout.ts';

const ids = (count: number, prefix = 'n') => Array.from({ length: count }, (_, index) => `${prefix}${index}`);

const overlap = (a: Box, b: Box) =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

/** Corner points of an edge. Control points of curves lie on them. */
const pointsOf = (path: string) =>
  [...path.matchAll(/(-?[\d.]+),(-?[\d.]+)/g)].map(([, x, y]) => ({ x: Number(x), y: Number(y) }));

const CASES = [320, 360, 768, 1280, 1920, 3840].flatMap((width) =>
  [0, 1, 2, 3, 7, 23, 60].map((below) => ({ width, below, above: below % 4 })),
);

test.each(CASES)(
  '$below nodes and $above sentinels fit in $width px without overlap',
  ({ width, below, above }) => {
    const layout = layoutFabric({ width, hubId: 'hub', above: ids(above, 'p'), below: ids(below) });
    const boxes = [layout.hub, ...layout.cards];
    expect(layout.cards.map(({ id }) => id)).toEqual([...ids(above, 'p'), ...ids(below)]);
    for (const [index, box] of boxes.entries()) {
      expect(box.width).toBeGreaterThanOrEqual(149);
      expect(box.x).toBeGreaterThanOrEqual(0);
      expect(box.x + box.width).toBeLessThanOrEqual(layout.width + 0.01);
      expect(box.y).toBeGreaterThanOrEqual(0);
      expect(box.y + box.height).toBeLessThanOrEqual(layout.height);
      for (const other of boxes.slice(index + 1))
        expect(overlap(box, other), `${box.id} ${other.id}`).toBe(false);
    }
  },
);

test.each(CASES)(
  'edges of $below nodes in $width px lead to their cards and pass behind none',
  ({ width, below, above }) => {
    const layout = layoutFabric({ width, hubId: 'hub', above: ids(above, 'p'), below: ids(below) });
    for (const { id, path } of layout.edges) {
      const points = pointsOf(path);
      const own = layout.cards.find((card) => card.id === id)!;
      const end = points.at(-1)!;
      expect(end.x).toBeGreaterThanOrEqual(own.x - 0.1);
      expect(end.x).toBeLessThanOrEqual(own.x + own.width + 0.1);
      expect(end.y).toBeGreaterThanOrEqual(own.y - 0.1);
      expect(end.y).toBeLessThanOrEqual(own.y + own.height + 0.1);
      for (const [index, to] of points.entries()) {
        const from = points[Math.max(0, index - 1)]!;
        const line = {
          id,
          x: Math.min(from.x, to.x) + 0.2,
          y: Math.min(from.y, to.y) + 0.2,
          width: Math.abs(from.x - to.x) - 0.4,
          height: Math.abs(from.y - to.y) - 0.4,
        };
        for (const card of layout.cards) expect(overlap(line, card), `${id} ${card.id}`).toBe(false);
      }
    }
  },
);

test('sixty nodes fit in the height of a screen at 1,280 px', () => {
  expect(layoutFabric({ width: 1280, hubId: 'hub', above: [], below: ids(60) }).height).toBeLessThan(900);
});

test('two thousand cards are placed in less than 50 ms', () => {
  const start = performance.now();
  layoutFabric({ width: 1280, hubId: 'hub', above: [], below: ids(2_000) });
  expect(performance.now() - start).toBeLessThan(50);
});

test('the arrow keys reach every card, and stop at the borders', () => {
  const { hub, cards } = layoutFabric({ width: 1280, hubId: 'hub', above: ids(1, 'p'), below: ids(23) });
  const boxes = [...cards.slice(0, 1), hub, ...cards.slice(1)];
  const reached = new Set(['hub']);
  for (const id of reached) {
    for (const key of ['ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight']) {
      const next = cardAfterKey(boxes, id, key);
      if (next !== undefined) reached.add(next);
    }
  }
  expect(reached.size).toBe(boxes.length);
  expect(cardAfterKey(boxes, 'hub', 'ArrowUp')).toBe('p0');
  expect(cardAfterKey(boxes, 'n0', 'ArrowRight')).toBe('n1');
  expect(cardAfterKey(boxes, 'n0', 'ArrowLeft')).toBeUndefined();
  expect(cardAfterKey(boxes, 'n0', 'ArrowUp')).toBe('hub');
  expect(cardAfterKey(boxes, 'hub', 'Home')).toBe('p0');
  expect(cardAfterKey(boxes, 'hub', 'End')).toBe('n22');
  expect(cardAfterKey(boxes, 'hub', 'x')).toBeUndefined();
});
