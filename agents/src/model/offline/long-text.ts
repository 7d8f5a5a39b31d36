// Longer texts, to demonstrate streaming and cancelling: stories, poems, counting. The same request always gets the same text.

const MAX_COUNT = 1_000;

/** Counts for "count to 50", "count from 3 to 9" and "count down from 10"; undefined for other texts. */
export function counting(text: string): string | undefined {
  const match =
    /\bcount\s+(?:(down)\s+)?(?:from\s+(\d{1,6})\s*)?(?:(?:up\s+)?to\s+(\d{1,6}))?/i.exec(text) ?? undefined;
  if (!match || (!match[2] && !match[3])) return undefined;
  const down = Boolean(match[1]) || (match[2] !== undefined && match[3] === undefined);
  const from = Number(match[2] ?? (down ? 10 : 1));
  const to = Number(match[3] ?? 0);
  const step = from <= to ? 1 : -1;
  const length = Math.abs(to - from) + 1;
  const numbers = Array.from({ length: Math.min(length, MAX_COUNT) }, (_, i) => from + i * step);
  const rest = length > MAX_COUNT ? `, and so on (I stop after ${MAX_COUNT} numbers)` : '';
  return `${numbers.join(', ')}${rest}.`;
}

const topicOf = (text: string): string | undefined =>
  /\b(?:about|of|on)\s+([^.!?\n]{2,60}?)\s*(?:please)?[.!?]*$/i
    .exec(text)?.[1]
    ?.replace(/^(?:my|your)\s+/i, 'a ');

/** Returns a story of about 300 words. */
export function story(text: string, listener: string | undefined): string {
  const hero = topicOf(text) ?? 'a small lighthouse';
  const named = hero.charAt(0).toUpperCase() + hero.slice(1);
  const friend = listener ?? 'a traveller';
  return [
    `Here is a story about ${hero}.`,
    `Once, at the far end of a long coast, where the map had run out of names, people told each other about ${hero}. They did not agree on how it began. The baker said it had come with the spring tide; the ferryman said it had always been there, and that it was the coast which had arrived later.`,
    `One evening the wind turned, and every light in the harbour went out at once. The boats were still at sea. On the quay they counted the missing: three, five, seven. Then a boy asked what ${hero} would do, half as a joke, and the joke did not go away.`,
    `So ${friend} took a lantern with no oil in it, and walked the whole night along the water, calling out the names of the boats, one after the other, and waiting after each of them for an answer. A name, and then listening; a name, and then listening. It is slow work, but it is how lost things are found: you ask for one, and you wait for the answer before you ask for the next.`,
    `Towards morning an answer came. It was faint, and it came from the wrong side, and it was the first boat. Behind it came the second, and in the end all seven lay in the harbour, and not one of the crews could say who had shown them the way. ${named}, said the baker. Arithmetic, said the ferryman: seven went out, and seven came home.`,
    'They lit the lamps again. And when a stranger asks them today how long to wait for a friend who is late, they say: until the answer comes, or until the deadline, whichever is earlier. That is the end.',
  ].join('\n\n');
}

/** Returns a poem of eight lines. */
export function poem(text: string): string {
  const about = topicOf(text) ?? 'a message';
  return [
    `I sing to you of ${about},`,
    'that left when it was day,',
    'and asked of every crossing',
    'who knew the shorter way.',
    'The road was dark, the night was long,',
    'the answer far, and yet',
    'it carried home the one small thing',
    'that it was asked to get.',
  ].join('\n');
}

export const JOKE =
  'A packet walks into a bar and says: "I would like a beer." The bartender asks: "A beer?" "Yes," says the packet, "a beer." Delivery was guaranteed, so it got at least one.';
