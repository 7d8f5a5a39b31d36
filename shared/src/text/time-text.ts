/** Formats a time limit or a wait for people: `500 ms`, `1.5 s`, `60 s`, `10 min`, `24 h`. */
export function timeText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${rounded(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${rounded(ms / 60_000)} min`;
  return `${rounded(ms / 3_600_000)} h`;
}

const rounded = (number: number): number => Number(number.toFixed(1));
