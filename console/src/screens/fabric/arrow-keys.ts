// Arrow keys in the graph: the focus moves to the nearest card in the direction of the key.
import type { Box } from './layout.ts';

/** Weight of the distance across the direction of the key. A card straight ahead wins over a nearer one to the side. */
const ACROSS = 3;

/** Returns the id of the card to focus after `key`. Undefined if the key does not move the focus, or no card is there. */
export function cardAfterKey(boxes: readonly Box[], current: string, key: string): string | undefined {
  if (key === 'Home') return boxes[0]?.id;
  if (key === 'End') return boxes.at(-1)?.id;
  const from = boxes.find(({ id }) => id === current);
  const direction = DIRECTIONS[key];
  if (from === undefined || direction === undefined) return undefined;
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const box of boxes) {
    const dx = box.x + box.width / 2 - from.x - from.width / 2;
    const dy = box.y + box.height / 2 - from.y - from.height / 2;
    const along = direction.x === 0 ? dy * direction.y : dx * direction.x;
    if (along <= 1) continue;
    const length = along + ACROSS * Math.abs(direction.x === 0 ? dx : dy);
    if (length < least) {
      least = length;
      best = box.id;
    }
  }
  return best;
}

const DIRECTIONS: Readonly<Record<string, { x: number; y: number }>> = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};
