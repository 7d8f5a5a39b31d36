// Facts that a user states ("my name is Ada", "my favourite colour is green", "the password is plum"), and the questions
// about them. Later statements replace earlier ones.

export interface Fact {
  /** The subject, normalized: `name`, `favourite colour`. */
  readonly key: string;
  /** `my` for facts about the user. */
  readonly owner: 'my' | 'the';
  readonly verb: string;
  readonly value: string;
}

const WORD = "[\\p{L}][\\p{L}\\p{M}'’-]*";
const NAME = `(${WORD}(?:\\s+(?!And\\b|But\\b|What\\b|Who\\b)\\p{Lu}[\\p{L}\\p{M}'’-]*){0,2})`;
const MY_NAME = new RegExp(`\\b(?:my name(?:['’]s| is)|call me)\\s+${NAME}`, 'iu');
// "I'm Ada": the capital distinguishes a name from "I'm tired".
const I_AM = /\b[Ii](?:['’]m| am)\s+(\p{Lu}[\p{L}\p{M}'’-]*)/u;
const NOT_A_NAME = /^(?:a|an|the|so|very|not|in|on|at|from|sorry|here|happy|sad|fine|good|ok|okay|i)$/i;
const MY =
  /\bmy\s+([\p{L}][\p{L}\p{N} '-]{0,40}?)\s+(is|are|was|=)\s+(?:called\s+|named\s+)?([^.!?\n;]{1,200})/iu;
const THE =
  /(?:^|[.!?;,]\s*|\bthat\s+)(?:the|our)\s+([\p{L}][\p{L}\p{N} '-]{0,40}?)\s+(is|are|was)\s+([^.!?\n;]{1,200})/iu;
const ABOUT_ME: readonly (readonly [RegExp, string])[] = [
  [/\bI live in\s+([^.!?,\n;]{1,80})/i, 'home'],
  [/\bI(?:['’]m| am| come) from\s+([^.!?,\n;]{1,80})/i, 'origin'],
  [/\bI work ((?:as|at|for|in)\s+[^.!?,\n;]{1,80})/i, 'work'],
  [/\bI(?:['’]m| am)\s+(\d{1,3})(?:\s+years?\s+old|\s*(?:$|[.!,]))/i, 'age'],
  [/\bI (?:really )?(?:like|love|enjoy)\s+([^.!?,\n;]{1,80})/i, 'like'],
  [/\bI have\s+((?:an?|one|two|three|\d+)\s+[^.!?,\n;]{1,80})/i, 'have'],
];

/** True if a sentence is a question. */
export const isQuestion = (text: string): boolean =>
  /\?\s*$/.test(text) || /^(?:what|who|where|when|which|how|do|does|can|could|is|are)\b/i.test(text);

/** Normalizes a key for lookups. */
const normalizeKey = (key: string): string =>
  key
    .toLowerCase()
    .replaceAll('favorite', 'favourite')
    .replaceAll('color', 'colour')
    .replace(/^(?:own|first|full)\s+(?=name)/, '')
    .replace(/\s+/g, ' ')
    .trim();

const tidy = (value: string): string =>
  value
    .replace(/\s+(?:and|but)\s+(?:my|i|what|please|can|who)\b.*$/i, '')
    .replace(
      /(?:,|\s+and|\s+so)?\s+(?:please\s+)?(?:remember|don['’]t forget|do not forget|keep in mind|note)\b.*$/i,
      '',
    )
    .replace(/[\s,]+$/, '')
    .trim();

/** Returns the facts that one sentence states. */
export function factsIn(sentence: string): Fact[] {
  const found: Fact[] = [];
  const name = MY_NAME.exec(sentence)?.[1] ?? (I_AM.exec(sentence)?.[1] || undefined);
  if (name && !NOT_A_NAME.test(name) && !/^(?:what|who|not)$/i.test(name)) {
    found.push({ key: 'name', owner: 'my', verb: 'is', value: name });
  }
  if (isQuestion(sentence)) return found;
  for (const [pattern, key] of ABOUT_ME) {
    const value = pattern.exec(sentence)?.[1];
    if (value) found.push({ key, owner: 'my', verb: 'is', value: tidy(value) });
  }
  for (const [pattern, owner] of [
    [MY, 'my'],
    [THE, 'the'],
  ] as const) {
    const match = pattern.exec(sentence);
    const [, words = '', verb = '', value = ''] = match ?? [];
    const key = normalizeKey(words);
    if (!match || key === 'name' || !value) continue;
    found.push({ key, owner, verb: verb === '=' ? 'is' : verb.toLowerCase(), value: tidy(value) });
  }
  return found;
}

const KEY_OF_QUESTION: readonly (readonly [RegExp, string])[] = [
  [
    /\bwho am i\b|\bwhat am i called\b|\b(?:know|remember) (?:my name|who i am)\b|\bwhat do you call me\b/i,
    'name',
  ],
  [/\bwhere do i live\b/i, 'home'],
  [/\bwhere (?:am i|do i come) from\b/i, 'origin'],
  [/\b(?:what|where) do i (?:work|do)\b|\bwhat is my (?:job|work)\b/i, 'work'],
  [/\bhow old am i\b|\bwhat is my age\b/i, 'age'],
  [/\bwhat do i (?:like|love|enjoy)\b/i, 'like'],
  [/\bwhat do i have\b/i, 'have'],
];
const ASKED =
  /\b(?:what|who|which|where|when)(?:['’]s|\s+is|\s+are|\s+was|\s+were)\s+(my|the|our)\s+([^?.!\n]{1,60})|\b(?:tell me|remember|know|recall|forgot(?:ten)?)\s+(?:what\s+)?(my)\s+([^?.!\n]{1,60})/i;

/** Returns the fact that a question asks for, or undefined if it asks for none. */
export function askedFor(question: string): { key: string; owner: 'my' | 'the'; words: string } | undefined {
  for (const [pattern, key] of KEY_OF_QUESTION)
    if (pattern.test(question)) return { key, owner: 'my', words: key };
  const match = ASKED.exec(question);
  if (!match) return undefined;
  const owner = /^my$/i.test(match[1] ?? match[3] ?? '') ? 'my' : 'the';
  const words = (match[2] ?? match[4] ?? '')
    .replace(/\s+(?:is|was|again|please|called|that i .*)$/i, '')
    .trim();
  return { key: normalizeKey(words), owner, words };
}

/** Returns the latest fact for a key. */
export const lookUp = (facts: readonly Fact[], key: string, owner: 'my' | 'the'): Fact | undefined =>
  facts.findLast((fact) => fact.key === key && fact.owner === owner) ??
  facts.findLast((fact) => fact.key === key);

const SENTENCES: Readonly<Record<string, (value: string) => string>> = {
  name: (value) => `Your name is ${value}.`,
  home: (value) => `You live in ${value}.`,
  origin: (value) => `You are from ${value}.`,
  work: (value) => `You work ${value}.`,
  age: (value) => `You are ${value}.`,
  like: (value) => `You like ${value}.`,
  have: (value) => `You have ${value}.`,
};

const inSecondPerson = (value: string): string =>
  value.replace(
    /\b(?:my|mine|i)\b/gi,
    (word) => ({ my: 'your', mine: 'yours', i: 'you' })[word.toLowerCase()] ?? word,
  );

/** Formats a fact as a sentence to the user. */
export const factSentence = (fact: Fact): string =>
  (fact.owner === 'my' ? SENTENCES[fact.key]?.(inSecondPerson(fact.value)) : undefined) ??
  `${fact.owner === 'my' ? 'Your' : 'The'} ${fact.key} ${fact.verb} ${inSecondPerson(fact.value)}.`;
