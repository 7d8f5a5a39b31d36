// Picks the enum value that fits a text best, by shared words, groups of related words, the system prompt's lines about each
// value, and a few rules for yes and no, mood, and attempts to break an agent's rules.
import { overlap, stem, wordsOf } from './words.ts';

const ATTACK =
  /\b(?:ignore|disregard|forget|override)\b[^.\n]{0,40}\b(?:instruction|rule|prompt|guideline|direction|above|previous)|\b(?:system|hidden|secret|initial) prompt\b|\bjail ?break|\bdeveloper mode\b|\bbypass\b|\bpretend (?:to be|you(?:'re| are))\b|\byou are now\b|\bact as (?:if|an? (?:unrestricted|admin|developer))|\breveal\b[^.\n]{0,30}\b(?:prompt|instruction|secret|password|key)|\bdo anything now\b|\bsudo\b|\bdrop table\b/i;

const words = (text: string): ReadonlySet<string> => new Set(text.split(' ').map(stem));
const BAD_LABELS = words(
  'hack hacking hacker attack attacker manipulate manipulation manipulative malicious injection unsafe suspicious abuse abusive block blocked reject rejected jailbreak harmful threat hostile deny denied',
);
const GOOD_LABELS = words(
  'ok okay safe fine clean pass allow allowed benign legit legitimate genuine harmless normal accept accepted honest proceed clear',
);
const REST_LABELS = words(
  'anything else other others none unknown general misc miscellaneous unclear default unsure',
);
const POSITIVE = words(
  'good great thanks thank love nice excellent wonderful perfect happy glad appreciate awesome fantastic',
);
const NEGATIVE = words(
  'bad terrible awful broken angry disappointed hate worst unacceptable late damaged wrong useless horrible upset annoyed never',
);
const POSITIVE_LABELS = words('positive good happy pleased satisfied');
const NEGATIVE_LABELS = words('negative bad unhappy angry upset dissatisfied');
const NEUTRAL_LABELS = words('neutral mixed indifferent');
const YES =
  /^\s*(?:y|yes|yep|yeah|sure|ok|okay|correct|right|exactly|confirmed?|agreed?|done|that(?:'s| is) (?:it|right|all)|go ahead|looks good|perfect)\b/i;
const NO = /^\s*(?:n|no|nope|not|wrong|never)\b/i;

const has = (some: ReadonlySet<string>, all: ReadonlySet<string>): boolean =>
  [...some].some((word) => all.has(word));

/** True if a text tries to make an agent break its rules. */
export const isAttack = (text: string): boolean => ATTACK.test(text);
export const isYes = (text: string): boolean => YES.test(text);
export const isNo = (text: string): boolean => NO.test(text);

/** Returns -1 for a negative, 0 for a neutral and 1 for a positive text. */
export function moodOf(text: string): number {
  const textWords = wordsOf(text);
  const count = (list: ReadonlySet<string>): number => [...textWords].filter((word) => list.has(word)).length;
  return Math.sign(count(POSITIVE) - count(NEGATIVE));
}

/** Returns the text after `option` in the lines of the system prompt that name it. */
const linesAbout = (option: string, system: string): string =>
  system
    .split('\n')
    .filter((line) => line.toLowerCase().includes(option.toLowerCase()))
    .map((line) => line.slice(line.toLowerCase().indexOf(option.toLowerCase()) + option.length))
    // A long line lists many values and describes none.
    .filter((line) => line.length < 400)
    .join(' ');

interface Fit {
  readonly option: string;
  /** 0 for no evidence. */
  readonly score: number;
}

/** Returns the option that fits best. `options` must not be empty. */
export function bestOption(text: string, options: readonly string[], system = ''): Fit {
  const textWords = wordsOf(text);
  const mood = moodOf(text);
  const attack = isAttack(text);
  const scored = options.map((option): Fit => {
    const label = wordsOf(option);
    if (has(label, REST_LABELS)) return { option, score: 0.1 };
    let score = overlap(textWords, label);
    const about = linesAbout(option, system);
    if (about && options.filter((other) => other !== option && about.includes(other)).length === 0) {
      score += overlap(textWords, wordsOf(about)) / 2;
    }
    if (text.toLowerCase().includes(option.toLowerCase())) score += 4;
    if (has(label, BAD_LABELS)) score += attack ? 10 : 0;
    if (has(label, GOOD_LABELS)) score += attack ? 0 : 1;
    if (has(label, POSITIVE_LABELS)) score += mood > 0 ? 3 : 0;
    if (has(label, NEGATIVE_LABELS)) score += mood < 0 ? 3 : 0;
    if (has(label, NEUTRAL_LABELS)) score += mood === 0 ? 1 : 0;
    if (/^(?:yes|y|true|confirm(?:ed)?)$/i.test(option)) score += isYes(text) ? 5 : 0;
    if (/^(?:no|n|false)$/i.test(option)) score += isNo(text) ? 5 : 0;
    return { option, score };
  });
  return scored.reduce((left, right) => (right.score > left.score ? right : left));
}
