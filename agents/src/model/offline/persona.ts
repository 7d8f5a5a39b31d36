// Applies the system prompt's style to an answer: a manner of speech ("speak Pirate"), the length ("be brief"), and fixed words
// ("end every answer with ..."). Quoted text never changes, because it repeats the user's own words.

interface Style {
  readonly name: string;
  readonly asked: RegExp;
  readonly swaps: readonly (readonly [RegExp, string])[];
  readonly before: readonly string[];
  readonly after: readonly string[];
}

const STYLES: readonly Style[] = [
  {
    name: 'pirate',
    asked: /\bpirate|\bbuccaneer|\bcorsair/i,
    swaps: [
      [/\bhello\b/gi, 'ahoy'],
      [/\bmy\b/gi, 'me'],
      [/\byour\b/gi, 'yer'],
      [/\byou are\b/gi, 'ye be'],
      [/\byou\b/gi, 'ye'],
      [/\bI am\b/g, 'I be'],
      [/\bis\b/gi, 'be'],
      [/\bare\b/gi, 'be'],
      [/\byes\b/gi, 'aye'],
      [/\bfriend\b/gi, 'matey'],
      [/\bthe\b/gi, "th'"],
      [/\bof\b/gi, "o'"],
      [/ing\b/g, "in'"],
    ],
    before: ['Arr! ', 'Avast, matey! ', 'Shiver me timbers! '],
    after: [' Arr!', ' Yo ho ho!', ''],
  },
  {
    name: 'robot',
    asked: /\b(?:speak|talk|act|answer|reply|are|sound)\b[^.\n]{0,30}\brobot\b/i,
    swaps: [
      [/\bI am\b/g, 'this unit is'],
      [/\bI\b/g, 'this unit'],
      [/\bmy\b/gi, "this unit's"],
      [/\byes\b/gi, 'affirmative'],
      [/\bno\b/gi, 'negative'],
    ],
    before: ['BEEP. ', 'BOOP. '],
    after: [' END OF MESSAGE.'],
  },
  {
    name: 'Shakespeare',
    asked: /\bshakespeare|\bold(?:e)? english|\bbard\b/i,
    swaps: [
      [/\byou are\b/gi, 'thou art'],
      [/\byour\b/gi, 'thy'],
      [/\byou\b/gi, 'thou'],
      [/\bhello\b/gi, 'good morrow'],
      [/\byes\b/gi, 'aye'],
    ],
    before: ['Hark! ', 'Prithee, hear me: '],
    after: [''],
  },
  {
    name: 'cowboy',
    asked: /\bcowboy|\bcowgirl/i,
    swaps: [
      [/\bhello\b/gi, 'howdy'],
      [/\byou\b/gi, "y'all"],
      [/\byes\b/gi, 'yup'],
      [/ing\b/g, "in'"],
    ],
    before: ['Howdy, partner. ', 'Well now. '],
    after: [' Yee-haw!', ''],
  },
];

/** The persona of the system prompt: the assistant's style, role and name. */
export interface Persona {
  readonly style: string | undefined;
  readonly role: string | undefined;
  readonly givenName: string | undefined;
  /** The system prompt fixes the whole answer. */
  readonly exactly: string | undefined;
}

const ROLE =
  /\byou (?:are|act as|play)(?:\s+now)?\s+(an?\s+[^.,;!\n]{2,80}?|the\s+[^.,;!\n]{2,80}?)(?=[.,;!\n]|\s+(?:who|that|and|for|of)\b|$)/i;
const GIVEN_NAME = /\b(?:your name is|you are (?:called|named)|call yourself)\s+(\p{L}[\p{L}\p{N}'’-]*)/iu;
const EXACTLY =
  /\b(?:always|only|just)?\s*(?:answer|reply|respond)(?:\s+(?:only|always|exactly|every time))*\s+(?:only\s+)?(?:with|by)\s+(?:exactly\s+|only\s+|just\s+)?(?:the (?:word|text|sentence)s?\s+)?[:]?\s*["“']([^"”'\n]{1,200})["”']/i;
const ENDING =
  /\b(?:end|finish|close)\s+(?:every|each|all|your)\b[^.\n"“']{0,40}?\bwith\s+(?:the (?:word|words|text)\s+)?["“']?([^"”'\n.]{1,80})/i;
const STARTING =
  /\b(?:start|begin)\s+(?:every|each|all|your)\b[^.\n"“']{0,40}?\bwith\s+(?:the (?:word|words|text)\s+)?["“']?([^"”'\n.]{1,80})/i;
const BRIEF =
  /\bbe (?:very )?(?:brief|short|concise|terse)\b|\bbriefly\b|\b(?:in )?one sentence\b|\bshort answers?\b/i;
const SHOUT = /\b(?:upper[- ]?case|capital letters|all caps|shout)/i;

/** Parses the persona of a system prompt. */
export function readPersona(system: string): Persona {
  return {
    style: STYLES.find((style) => style.asked.test(system))?.name,
    role: ROLE.exec(system)?.[1]?.trim(),
    givenName: GIVEN_NAME.exec(system)?.[1],
    exactly: EXACTLY.exec(system)?.[1],
  };
}

const outsideQuotes = (text: string, change: (part: string) => string): string =>
  text
    .split(/("[^"]*"|“[^”]*”)/)
    .map((part, i) => (i % 2 === 1 ? part : change(part)))
    .join('');

const keepCase = (from: string, to: string): string =>
  /^\p{Lu}/u.test(from) ? to.charAt(0).toUpperCase() + to.slice(1) : to;

const firstSentence = (text: string): string => /^[\s\S]*?[.!?](?=\s|$)/.exec(text)?.[0] ?? text;

/** Rewrites `text` in the style of the system prompt. `turn` varies the openings. */
export function inPersona(text: string, system: string, turn: number): string {
  let styled = text;
  if (BRIEF.test(system)) styled = firstSentence(styled);
  const style = STYLES.find((one) => one.asked.test(system));
  if (style) {
    styled = outsideQuotes(styled, (part) =>
      style.swaps.reduce((all, [from, to]) => all.replace(from, (word) => keepCase(word, to)), part),
    );
    const pick = (list: readonly string[]): string => list[turn % list.length] ?? '';
    styled = `${pick(style.before)}${styled}${pick(style.after)}`;
  }
  if (SHOUT.test(system)) styled = outsideQuotes(styled, (part) => part.toUpperCase());
  const start = STARTING.exec(system)?.[1]?.trim();
  const end = ENDING.exec(system)?.[1]?.trim();
  return [start, styled, end].filter(Boolean).join(' ');
}
