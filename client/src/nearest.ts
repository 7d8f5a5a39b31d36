// "Did you mean ...?": the closest of a few names to what was typed.

/**
 * The name nearest to `typed`, or `undefined` when none is near enough to be what was meant.
 * @param most letters that may be wrong. @default a third of them
 */
export function nearest(
  typed: string,
  names: readonly string[],
  most = Math.max(1, Math.floor(typed.length / 3)),
): string | undefined {
  const text = typed.toLowerCase();
  let best: string | undefined;
  let bestDistance = most + 1;
  for (const name of names) {
    const distance = text.length > 1 && name.startsWith(text) ? 0 : editDistance(text, name);
    if (distance < bestDistance) [best, bestDistance] = [name, distance];
  }
  return best;
}

// Insertions, deletions, replacements and swaps of neighbours, each of which counts one.
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      let least = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + (isSame ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
