// Suggestions for misspelt names.

/** Longer input has no match: no name is that long, and the cost grows with the length. */
const MAX_CHARS = 64;
/** Below 1, so that a name that begins with the input beats every name that differs by an edit. */
const PREFIX_DISTANCE = 0.5;

/**
 * Returns the name that is closest to `input`, ignoring case, or `undefined` if none is close. A name is close if it begins
 * with the input (of two characters or more), or differs by at most `maxEdits` insertions, deletions, replacements or swaps.
 * @default maxEdits a third of the input's length
 */
export function closestMatch(
  input: string,
  names: Iterable<string>,
  maxEdits = Math.max(1, Math.floor(input.length / 3)),
): string | undefined {
  if (input.length > MAX_CHARS) return undefined;
  const wanted = input.toLowerCase();
  let closest: string | undefined;
  let least = maxEdits + 1;
  for (const name of names) {
    const distance = distanceOf(wanted, name.toLowerCase(), least);
    if (distance < least) [closest, least] = [name, distance];
  }
  return closest;
}

function distanceOf(wanted: string, name: string, limit: number): number {
  if (wanted === name) return 0;
  return wanted.length > 1 && name.startsWith(wanted) ? PREFIX_DISTANCE : editDistance(wanted, name, limit);
}

/** Damerau-Levenshtein distance (optimal string alignment); `limit` or more is reported as `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min(previous[j]! + 1, current[j - 1]! + 1, replaced);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (isSwap) least = Math.min(least, beforePrevious[j - 2]! + 1);
      current.push(least);
    }
    beforePrevious = previous;
    previous = current;
  }
  return Math.min(limit, previous[b.length]!);
}
