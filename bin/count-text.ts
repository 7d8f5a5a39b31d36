/** Formats a number with its noun: `1 turn`, `2 turns`. */
export const countText = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;
