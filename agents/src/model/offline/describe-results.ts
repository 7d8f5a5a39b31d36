// Describes tool results to the user: common shapes as a sentence, others member by member.
import { cutText } from '@fame-fabric/shared/internal';
import type { ToolResult } from './conversation.ts';

const MAX_CHARS = 2_000;

type Members = Readonly<Record<string, unknown>>;

/** Result shapes that have a sentence: the members and the sentence. */
const SENTENCES: readonly (readonly [readonly string[], (value: Members) => string])[] = [
  [['expression', 'result'], ({ expression, result }) => `${expression} = ${result}.`],
  [
    ['location', 'temperature', 'unit'],
    ({ location, temperature, unit }) =>
      `In ${location} it is ${temperature} degrees ${capitalized(String(unit))}.`,
  ],
  [
    ['location', 'temperature'],
    ({ location, temperature }) =>
      temperature === 'unknown'
        ? `The temperature in ${location} is unknown.`
        : `In ${location} it is ${temperature} degrees.`,
  ],
  [
    ['utc', 'local', 'time_zone', 'weekday'],
    ({ local, time_zone, weekday }) => `It is ${weekday}, ${local} (${time_zone}).`,
  ],
];

const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const isMembers = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isPlain = (value: unknown): boolean => typeof value === 'string' || typeof value === 'number';

function sentenceOf(value: unknown): string | undefined {
  if (!isMembers(value) || !Object.values(value).every(isPlain)) return undefined;
  const keys = Object.keys(value);
  const found = SENTENCES.find(
    ([members]) => members.length === keys.length && members.every((member) => Object.hasOwn(value, member)),
  );
  return found?.[1](value);
}

const inWords = (value: unknown): string => {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'nothing' : value.map(inWords).join(', ');
  if (!isMembers(value)) return String(value);
  return Object.entries(value)
    .map(([key, inner]) => `${key.replaceAll('_', ' ')}: ${inWords(inner)}`)
    .join(', ');
};

function describeResult({ name, content }: ToolResult): string {
  let value: unknown = content;
  try {
    value = JSON.parse(content);
  } catch {
    // A result that is not JSON is plain text.
  }
  const error = /^error\b/i.test(content)
    ? content
    : isMembers(value) && value.error
      ? inWords((value.error as { message?: unknown }).message ?? value.error)
      : undefined;
  if (error !== undefined) return `The tool ${name} did not work: ${cutText(error, MAX_CHARS)}`;
  const text = cutText(sentenceOf(value) ?? inWords(value), MAX_CHARS);
  if (/[.!?]$/.test(text)) return text;
  const label = name.replaceAll('_', ' ').replace(/^(?:get|fetch|find|look up)\s+/, '');
  return `${capitalized(label)}: ${text}.`;
}

/** Describes the results of the tools. */
export const describeResults = (results: readonly ToolResult[]): string =>
  results.map(describeResult).join(' ');
