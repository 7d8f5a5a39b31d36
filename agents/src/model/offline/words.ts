// Compares texts by the stems of their words, without stop words. Groups contain words with a related meaning in requests.

const STOP_WORDS = new Set(
  'a an the and or but if of to in on at by for from with as is are was were be been am do does did have has had i me my you your he she it its we they them this that these those there here what which who when where why how can could would should will shall may might please tell want need like know let us get got give just so not no yes any some about than then too very s t m re ll d'.split(
    ' ',
  ),
);

/** Removes the ending of a word: `orders` and `ordering` become `order`. */
export const stem = (word: string): string => {
  const low = word.toLowerCase();
  if (low.length <= 3) return low;
  return low
    .replace(/(?:ies)$/, 'y')
    .replace(/(?<=[a-z]{3})(?:ingly|ing|edly|ed|ly|es|s)$/, '')
    .replace(/(?<=[a-z]{3})e$/, '');
};

/** Returns the stems of the significant words of a text or a name (`get_current_weather`, `orderStatus`). */
export const wordsOf = (text: string): Set<string> =>
  new Set(
    text
      .slice(0, 4_000)
      .replace(/([\p{Ll}\d])(\p{Lu})/gu, '$1 $2')
      .split(/[^\p{L}\p{N}]+/u)
      .filter((word) => word && !STOP_WORDS.has(word.toLowerCase()))
      .map(stem),
  );

const group = (text: string): ReadonlySet<string> => new Set(text.split(' ').map(stem));

/** Each group has words for the same subject. */
const GROUPS: readonly ReadonlySet<string>[] = [
  group('weather forecast temperature rain raining sunny sunshine snow wind umbrella degrees hot cold'),
  group('time clock hour date day today now oclock calendar'),
  group('calculate calculator calculation compute math maths arithmetic sum evaluate expression equation'),
  group(
    'order orders delivery deliver parcel package tracking track shipped shipment shipping arrive arrived status',
  ),
  group('thank thanks thankful grateful gratitude appreciate cheers praise compliment'),
  group(
    'complain complaint broken damaged defective angry terrible disappointed unacceptable awful faulty wrong worst rude',
  ),
  group(
    'product item price cost feature features available availability stock catalogue sell size colour information info',
  ),
  group(
    'advertisement advert ad ads offer seo marketing promote promotion discount spam click ranking backlinks sponsor deal',
  ),
  group('unsubscribe newsletter mailing optout subscription'),
  group('bill billing invoice payment pay paid charge charged card price refund money'),
  group(
    'support technical error bug crash crashes login password help install problem issue trouble fix broken works',
  ),
  group('cancel cancellation stop abort terminate'),
  group('return refund exchange sendback money back'),
  group('human person agent representative operator somebody staff'),
  group('greeting hello hi hey greet morning'),
  group('search find lookup look query browse google'),
  group('translate translation language french german spanish english italian'),
  group('mail email message send notify letter'),
  group('remind reminder remember note alarm'),
  group('convert conversion exchange rate currency unit dollars euros'),
  group('book booking reserve reservation appointment table flight hotel travel trip'),
  group('account profile login password register signup'),
  group('job career hiring vacancy apply application work'),
  group('opening open hours close closed closing'),
  group('story joke poem entertain fun'),
];

/** Scores the fit of a text and a label: 3 for each shared word, 2 or more for each shared group. */
export function overlap(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  let score = 0;
  for (const word of a) if (b.has(word)) score += 3;
  for (const one of GROUPS) {
    const left = [...a].filter((word) => one.has(word));
    const right = [...b].filter((word) => one.has(word));
    // A shared word has been counted already.
    if (left.length > 0 && right.length > 0 && !left.some((word) => b.has(word))) {
      score += 2 + (left.length - 1) / 2;
    }
  }
  return score;
}
