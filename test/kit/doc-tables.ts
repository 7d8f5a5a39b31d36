// Tables of the documents that are generated from tables of the code: the rows under each heading. A test compares them with
// the documents; run as a program (`npm run docs`), this file writes them.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AGENT_VARIABLES } from '@fame-fabric/agents/process';
import { DOOR_VARIABLES } from '@fame-fabric/doors/config';
import { SENTINEL_VARIABLES } from '@fame-fabric/sentinel/internal';
import { ERRORS, type ErrorCode, FabricError, rpcError } from '@fame-fabric/shared';
import {
  exitCodeOf,
  NAYLENCE_VARIABLES,
  type NaylenceVariable,
  TELEMETRY_VARIABLES,
  type Variable,
} from '@fame-fabric/shared/internal';
import { CLIENT_VARIABLES } from '../../bin/config.ts';
import { EXPECTED_FAILURES, type ExpectedFailure } from '../doors/conformance/expected-failures.ts';
import { FAILED } from '../doors/conformance/mcp-client-scenarios.ts';
import { documentRows } from '../interop/matrix/table.ts';
import { ROOT } from './processes.ts';

/** A variable of one of the lists below. */
export type ListedVariable = Omit<Variable, 'type'> & { readonly type: string };

export interface DocTable {
  readonly file: string;
  readonly heading: string;
  readonly rows: readonly string[];
}

export const cell = (text: string): string => text.replaceAll('|', '\\|');

function errorRow(code: ErrorCode): string {
  const { when, fix, retryable } = ERRORS[code];
  const error = new FabricError(code, '');
  const number = rpcError(1, error).error!.code;
  return `| \`${code}\` | ${cell(when)} | ${cell(fix)} | ${retryable ? 'yes' : 'no'} | ${number} | ${exitCodeOf(error)} |`;
}

function variableRow({ name, type, unit, default: fallback, description, secret }: ListedVariable): string {
  const kind = unit ? `${type}, ${unit}` : type;
  const isNone = fallback === '' || fallback === '(none)';
  const value = isNone ? '' : /\s/.test(fallback) ? fallback : `\`${fallback}\``;
  return `| \`${name}\` | ${kind} | ${value} | ${cell(description)}${secret ? ' Never printed.' : ''} |`;
}

function naylenceRow({ name, isRead, same = [], refuses, note }: NaylenceVariable): string {
  const list = (values: readonly string[]): string => values.map((value) => `\`${value}\``).join(', ');
  const refused =
    refuses === 'others' ? (same.length > 0 ? 'other values' : 'every value') : list(refuses ?? []);
  const hasOtherEffects = same.length > 0 || refuses !== undefined;
  const others = hasOtherEffects ? 'other values: no effect, with a warning' : 'no effect, with a warning';
  const rest = refuses === 'others' ? '' : others;
  const effects = isRead
    ? ['read']
    : [same.length > 0 ? `${list(same)}: accepted` : '', refused ? `${refused}: refused` : '', rest];
  return `| \`${name}\` | ${effects.filter((text) => text !== '').join('; ')} | ${cell(note)} |`;
}

const failureRow = ({ revision, scenario, checks, isUnscored, reason }: ExpectedFailure): string =>
  `| \`${revision}\` | \`${scenario}\` | ${checks.length} | ${isUnscored ? 'no' : 'yes'} | ${cell(reason)} |`;

/** Variables that each kind of process reads. */
export const VARIABLE_LISTS: readonly (readonly [string, readonly ListedVariable[]])[] = [
  ['## Sentinel', SENTINEL_VARIABLES],
  ['## Agents', AGENT_VARIABLES],
  ['## Doors', DOOR_VARIABLES],
  ['## Client', CLIENT_VARIABLES],
  ['## Traces', TELEMETRY_VARIABLES],
];

const CODES = Object.keys(ERRORS) as ErrorCode[];
export const ERROR_AREAS = [...new Set(CODES.map((code) => ERRORS[code].area))];

export const DOC_TABLES: readonly DocTable[] = [
  ...ERROR_AREAS.map((area) => ({
    file: 'docs/errors.md',
    heading: `## ${area}`,
    rows: CODES.filter((code) => ERRORS[code].area === area).map(errorRow),
  })),
  ...VARIABLE_LISTS.map(([heading, variables]) => ({
    file: 'docs/configuration.md',
    heading,
    rows: variables.map(variableRow),
  })),
  {
    file: 'docs/naylence.md',
    heading: '## Environment variables',
    rows: NAYLENCE_VARIABLES.map(naylenceRow),
  },
  { file: 'docs/naylence.md', heading: '## Tested combinations', rows: documentRows() },
  ...[...Map.groupBy(EXPECTED_FAILURES, ({ suite }) => suite)].map(([suite, failures]) => ({
    file: 'docs/conformance.md',
    heading: `## ${suite}`,
    rows: failures.map(failureRow),
  })),
  {
    file: 'docs/conformance.md',
    heading: '## MCP client',
    rows: FAILED.map(
      ({ scenarios, reason }) => `| ${scenarios.map((name) => `\`${name}\``).join(', ')} | ${reason} |`,
    ),
  },
];

const isRow = (line: string): boolean => line.startsWith('| `');
export const rowsOf = (text: string): string[] => text.split('\n').filter(isRow);

/** The part of a document below a heading, to the next of the same rank. @throws if the heading is missing */
export function section(text: string, heading: string): string {
  const at = text.indexOf(`\n${heading}\n`);
  if (at < 0) throw new Error(`The document has no heading "${heading}"`);
  const rank = /^#+/.exec(heading)![0];
  const next = text.indexOf(`\n${rank} `, at + heading.length);
  return text.slice(at, next < 0 ? undefined : next);
}

/** The document with the rows of one table replaced, and nothing else changed. */
export function withRows(text: string, { heading, rows }: DocTable): string {
  const old = section(text, heading);
  const lines = old.split('\n');
  const head = lines.findIndex((line) => line.startsWith('|---'));
  if (head < 0) throw new Error(`The document has no table under "${heading}"`);
  const kept = lines.filter((line, i) => i <= head || !isRow(line));
  kept.splice(head + 1, 0, ...rows);
  return text.replace(old, () => kept.join('\n'));
}

if (import.meta.main) {
  for (const table of DOC_TABLES) {
    const path = join(ROOT, table.file);
    const text = readFileSync(path, 'utf8');
    const updated = withRows(text, table);
    if (updated === text) continue;
    writeFileSync(path, updated);
    console.log(`${table.file}: ${table.heading}`);
  }
}
