// Fills the parameters of a tool from the conversation, by their type, enum and name. A value that the conversation does not
// contain is undefined: the caller asks for it, or falls back to the schema for a forced call.
import { bestOption, isAttack, isNo, moodOf } from './classify.ts';
import type { Conversation } from './conversation.ts';
import { clauses } from './conversation.ts';
import { factsIn, lookUp } from './facts.ts';
import { goalOf, goalsOf, questionsFor } from './requirements.ts';
import { findSum } from './sums.ts';
import { overlap, wordsOf } from './words.ts';

type Schema = Record<string, unknown>;
export type Value = string | number | boolean | null | Value[] | { [key: string]: Value };

export interface FillContext {
  readonly conversation: Conversation;
  /** The clause that asks for the call. */
  readonly text: string;
  /** True if a value that the conversation does not contain gets a default. */
  readonly forced: boolean;
  /** The place or item of this call, if the clause names several and each gets its own call. */
  readonly item?: string | undefined;
  /** The name of the tool. */
  readonly tool: string;
  /** The names of all parameters of the object. */
  readonly siblings?: readonly string[] | undefined;
}

const MAX_DEPTH = 4;
const isObject = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reduces the alternatives of a schema to the first that is not null. */
function plain(schema: unknown): Schema {
  if (!isObject(schema)) return {};
  const options = (schema.anyOf ?? schema.oneOf) as unknown[] | undefined;
  if (Array.isArray(options)) return plain(options.find((one) => isObject(one) && one.type !== 'null'));
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== 'null') : schema.type;
  return { ...schema, type };
}

/** True if a schema accepts null for an unknown value. */
function acceptsNull(schema: unknown): boolean {
  if (!isObject(schema)) return false;
  const options = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(options)) return options.some((one) => isObject(one) && one.type === 'null');
  return Array.isArray(schema.type) && schema.type.includes('null');
}

/** Returns the arguments of a call, and the names of required ones that are missing. */
export function fillArguments(
  parameters: unknown,
  context: FillContext,
  depth = 0,
): { args: { [key: string]: Value }; missing: string[] } {
  const schema = plain(parameters);
  const properties = isObject(schema.properties) ? schema.properties : {};
  const required = new Set(Array.isArray(schema.required) ? schema.required : []);
  const args: { [key: string]: Value } = {};
  const missing: string[] = [];
  const numbers = numbersIn(context.text);
  const withSiblings = { ...context, siblings: Object.keys(properties) };
  for (const [name, value] of Object.entries(properties)) {
    const nullable = acceptsNull(value);
    const needed = required.has(name);
    const found = fillOne(name, plain(value), withSiblings, numbers, needed && !nullable, depth);
    const filled = found ?? (needed && nullable ? null : undefined);
    if (filled !== undefined) {
      // A parameter may be called __proto__, which an assignment would not create.
      Object.defineProperty(args, name, {
        value: filled,
        enumerable: true,
        writable: true,
        configurable: true,
      });
    } else if (needed) missing.push(name);
  }
  return { args, missing };
}

function fillOne(
  name: string,
  schema: Schema,
  context: FillContext,
  numbers: number[],
  required: boolean,
  depth: number,
): Value | undefined {
  if (name === 'to_user') return 'One moment, please.';
  if (schema.const !== undefined) return schema.const as Value;
  const description = typeof schema.description === 'string' ? schema.description : '';
  const options = (Array.isArray(schema.enum) ? schema.enum : []).filter((one) => typeof one === 'string');
  if (options.length > 0) {
    const best = bestOption(context.text, options, context.conversation.system);
    if (best.score >= 1 || (required && (context.forced || best.score > 0))) return best.option;
    return (schema.default as Value | undefined) ?? (required ? best.option : undefined);
  }
  switch (schema.type) {
    case 'number':
    case 'integer':
      return fillNumber(name, schema, context, numbers, required);
    case 'boolean':
      return required || overlap(wordsOf(context.text), wordsOf(name)) > 0
        ? fillBoolean(name, description, context)
        : undefined;
    case 'array':
      return fillArray(name, schema, context, required, depth);
    case 'object':
      if (depth >= MAX_DEPTH || (!required && depth > 0)) return required ? {} : undefined;
      return fillArguments(schema, context, depth + 1).args;
    default: {
      const text = fillText(name, description, context, required);
      const max = typeof schema.maxLength === 'number' ? schema.maxLength : 4000;
      return text === undefined ? (schema.default as Value | undefined) : text.slice(0, max);
    }
  }
}

const numbersIn = (text: string): number[] =>
  [...text.matchAll(/(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)/g)].map(([number]) => Number(number));

function fillNumber(
  name: string,
  schema: Schema,
  context: FillContext,
  numbers: number[],
  required: boolean,
): number | undefined {
  const low = typeof schema.minimum === 'number' ? schema.minimum : undefined;
  const high = typeof schema.maximum === 'number' ? schema.maximum : undefined;
  const named = new RegExp(
    `\\b${name.replace(/[^\w]/g, '.')}\\s*(?:is|=|:|of)?\\s*(-?\\d+(?:\\.\\d+)?)`,
    'i',
  ).exec(context.text);
  let value: number | undefined;
  if (/confidence|certainty|probability|score|likelihood/i.test(name)) {
    value = high !== undefined && high > 1 ? Math.round(high * 0.9) : 0.9;
  } else if (named) value = Number(named[1]);
  else value = numbers.shift();
  if (value === undefined) value = schema.default as number | undefined;
  if (value === undefined) {
    if (!required || !context.forced) return undefined;
    value = low ?? 1;
  }
  if (schema.type === 'integer') value = Math.round(value);
  return Math.min(high ?? value, Math.max(low ?? value, value));
}

function fillBoolean(name: string, description: string, context: FillContext): boolean {
  const about = `${name} ${description}`;
  if (/hack|attack|manipul|malicious|injection|suspicious|unsafe|jailbreak|abus|hostile/i.test(about)) {
    return isAttack(context.text);
  }
  if (/safe|legit|benign|allow|genuine|harmless/i.test(about)) return !isAttack(context.text);
  if (/angry|upset|unhappy|negative|complain/i.test(about)) return moodOf(context.text) < 0;
  if (/happy|satisfied|positive/i.test(about)) return moodOf(context.text) > 0;
  if (/question/i.test(name)) return /\?/.test(context.text);
  if (
    new RegExp(`\\b(?:no|not|without|don't)\\b[^.]{0,20}\\b${name.replace(/[^\w]/g, '.')}`, 'i').test(
      context.text,
    )
  )
    return false;
  return !isNo(context.text) && overlap(wordsOf(context.text), wordsOf(about)) > 0;
}

function fillArray(
  name: string,
  schema: Schema,
  context: FillContext,
  required: boolean,
  depth: number,
): Value[] | undefined {
  const items = plain(schema.items);
  const least = typeof schema.minItems === 'number' ? schema.minItems : 0;
  const most = typeof schema.maxItems === 'number' ? schema.maxItems : 20;
  const fit = (list: Value[]): Value[] => list.slice(0, most);
  const wrap = (texts: readonly string[]): Value[] =>
    texts.map((text) =>
      items.type === 'object'
        ? fillArguments(items, { ...context, text, item: text, forced: true }, depth + 1).args
        : text,
    );
  if (/question/i.test(name))
    return fit(wrap(questionsFor(context.conversation, Math.max(least, Math.min(3, most)))));
  if (/goal|requirement|objective|step|task/i.test(name)) return fit(wrap(goalsOf(context.conversation)));
  if (Array.isArray(items.enum)) {
    const options = items.enum.filter((one) => typeof one === 'string');
    const chosen = options.filter((option) => bestOption(context.text, [option]).score >= 2);
    if (chosen.length === 0 && least > 0)
      chosen.push(bestOption(context.text, options, context.conversation.system).option);
    return chosen.length > 0 || required ? fit(chosen) : undefined;
  }
  if (items.type === 'number' || items.type === 'integer') {
    const numbers = numbersIn(context.text);
    return numbers.length > 0 || required ? fit(numbers) : undefined;
  }
  const listed = listIn(context.text);
  if (listed.length === 0 && !required) return undefined;
  const texts = listed.length > 0 ? listed : least > 0 || context.forced ? [context.text] : [];
  return texts.length > 0 || context.forced ? fit(wrap(texts)) : undefined;
}

/** Returns the items of a list in a text: quoted texts, else the list after a colon. */
function listIn(text: string): string[] {
  const quoted = [...text.matchAll(/["“']([^"”']{1,200})["”'](?=\W|$)/g)].map(([, item = '']) => item);
  if (quoted.length > 0) return quoted;
  const list = /:\s*([^:]+)$/.exec(text)?.[1];
  return list === undefined
    ? []
    : list
        .split(/\s*(?:,|;|\n|\band\b)\s*/)
        .map((item) => item.replace(/[.!?]$/, '').trim())
        .filter(Boolean);
}

const firstMatch = (text: string, ...patterns: readonly RegExp[]): string | undefined => {
  for (const pattern of patterns) {
    const found = pattern.exec(text);
    if (found) return (found[1] ?? found[0]).trim();
  }
  return undefined;
};

const CAPITALS = /(?<!^)(?<![.!?]\s)\b(\p{Lu}[\p{L}'’-]+(?:\s+\p{Lu}[\p{L}'’-]+)*)/u;
const PLACE =
  /\b(?:in|at|for|near|to|from|of)\s+((?:the\s+)?[\p{L}][\p{L}'’-]*(?:[\s-]+(?!today\b|tomorrow\b|now\b|right\b|please\b|like\b|this\b|on\b|and\b|in\b|at\b)[\p{L}][\p{L}'’-]*){0,2})/iu;
const LANGUAGES =
  /\b(English|French|German|Spanish|Italian|Dutch|Portuguese|Polish|Japanese|Chinese|Korean|Arabic|Russian|Latin|Swedish|Danish)\b/i;

/** Returns the places of a clause that names several, such as "Paris and London". */
export function placesIn(text: string): string[] {
  const many =
    /\b(?:in|for|at)\s+(\p{Lu}[\p{L}'’-]*(?:\s\p{Lu}[\p{L}'’-]*)*(?:(?:,\s*(?:and\s+)?|\s+and\s+)\p{Lu}[\p{L}'’-]*(?:\s\p{Lu}[\p{L}'’-]*)*)+)/u.exec(
      text,
    )?.[1];
  return many ? many.split(/\s*,\s*(?:and\s+)?|\s+and\s+/).filter(Boolean) : [];
}

/** Returns the time zone that a text names, by zone name or city. */
function zoneIn(text: string): string | undefined {
  const name = /\b[A-Z]\w+\/[A-Z][\w/]+|\bUTC\b/.exec(text)?.[0];
  if (name) return name;
  const place = firstMatch(text, CAPITALS, PLACE)?.replaceAll(' ', '_').toLowerCase();
  return place && Intl.supportedValuesOf('timeZone').find((zone) => zone.toLowerCase().endsWith(`/${place}`));
}

function fillText(
  name: string,
  description: string,
  context: FillContext,
  required: boolean,
): string | undefined {
  const { text, conversation } = context;
  const key = name.replace(/([a-z\d])([A-Z])/g, '$1_$2').toLowerCase();
  const is = (pattern: RegExp): boolean => pattern.test(key);
  const facts = conversation.userTexts.flatMap((message) => clauses(message).flatMap(factsIn));
  const other = new RegExp(
    `\\b${key.replaceAll('_', '[ _-]?')}\\s*(?:is|=|:)\\s*["“']?([^"”',;\\n]{1,100}?)["”']?(?=[,;.?!]|$)`,
    'i',
  );
  const named = firstMatch(text, other);
  if (named) return named;
  if (
    context.item !== undefined &&
    is(/location|city|place|town|question|text|name|title|goal|item|description|requirement/)
  )
    return context.item;

  if (is(/zone/)) return zoneIn(text);
  if (is(/(?:^|_)(?:expression|formula|equation|calculation|sum)$/))
    return findSum(text) ?? (context.forced && required ? text : undefined);
  if (is(/e?mail/)) return firstMatch(text, /[\w.+-]+@[\w-]+\.[\w.-]*\w/);
  if (is(/url|link|uri/)) return firstMatch(text, /https?:\/\/[^\s"'<>]+/);
  if (is(/language|lang$/)) return firstMatch(text, LANGUAGES);
  if (is(/location|city|place|town|country|region|destination|address|where/)) {
    const known = (): string | undefined => lookUp(facts, 'home', 'my')?.value;
    // The user's name is capitalized but is not a place.
    const where = text.replace(/\bmy name is [^.!?]*[.!?]?\s*/i, '');
    const found = firstMatch(where, CAPITALS, PLACE);
    return found && !/^(?:the )?(?:weather|forecast|moment|time|I)$/i.test(found) ? found : known();
  }
  if (is(/(?:^|_)(?:id|code|number|no|sku|reference|ref)$/)) {
    const recent = [text, ...conversation.userTexts.toReversed()];
    for (const message of recent) {
      const id = firstMatch(message, /#\s?([\w-]+)/, /\b([A-Z]{1,6}-?\d[\w-]*)\b/, /\b(\d[\w-]*)\b/);
      if (id) return id;
    }
    return context.forced && required ? 'unknown' : undefined;
  }
  if (is(/date|day|when|time/)) {
    return (
      firstMatch(
        text,
        /\b\d{4}-\d{2}-\d{2}\b/,
        /\b(?:today|tomorrow|tonight|yesterday|(?:next|this) \w+|(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b/i,
        /\b(?:at )?(\d{1,2}(?::\d{2})?\s?(?:am|pm|o'clock)?)\b/i,
      ) ?? (context.forced && required ? 'today' : undefined)
    );
  }
  if (is(/reformulat|goal|objective|requirement/)) return goalOf(conversation);
  if (is(/question/) && /confirm/i.test(`${description} ${key} ${context.tool}`)) {
    const showsGoal = context.siblings?.some((sibling) => /goal/i.test(sibling));
    return showsGoal
      ? 'Have I understood you correctly?'
      : `Have I understood you correctly? ${goalOf(conversation)}`;
  }
  if (is(/question/) && context.forced) return questionsFor(conversation, 1)[0];
  if (is(/(?:^|_)name$|person|recipient|customer|user|^to$|author/)) {
    return (
      firstMatch(text, /\b(?:to|for|called|named|with)\s+(\p{Lu}[\p{L}'’-]+(?:\s\p{Lu}[\p{L}'’-]+)*)/u) ??
      lookUp(facts, 'name', 'my')?.value ??
      firstMatch(text, CAPITALS, /["“']([^"”']{1,100})["”']/) ??
      (context.forced && required ? text : undefined)
    );
  }
  if (is(/summary|reason|reasoning|explanation|rationale/)) return `The user said: ${text}`;
  if (!required && !/query|text|message|content|topic|subject|title|note/.test(key)) return undefined;
  return subjectOf(text);
}

/** Returns the subject of a request: a quoted text, the text after a colon or "about", else all of it. */
const subjectOf = (text: string): string =>
  firstMatch(
    text,
    /["“]([^"”]{1,1000})["”]/,
    /:\s*(\S[\s\S]*)$/,
    /\b(?:about|for|up)\s+([^.!?\n]{2,200})[.!?]*$/i,
  ) ?? text;
