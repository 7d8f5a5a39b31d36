// The help texts, generated from the table of verbs.
import { VERBS } from './verbs.ts';

const columns = (rows: readonly (readonly [string, string])[]): string => {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}\n`).join('');
};

/** Returns the output of `fame help`. */
export function overview(): string {
  const listed = Object.entries(VERBS).filter(([, verb]) => !verb.isHidden);
  return `Usage: npx fame-fabric COMMAND

${columns(listed.map(([name, { about }]) => [name, about]))}
\`npx fame-fabric COMMAND --help\` shows flags and examples. Settings are environment variables, or lines of a .env file in the
current directory; docs/configuration.md lists them.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 69 cannot reach, 124 timed out,
130 or 143 ended by a signal.
`;
}

/** Returns the output of `fame VERB --help`. */
export function verbHelp(name: string): string {
  const { about, usage, examples, flags = {} } = VERBS[name]!;
  const rows = Object.entries(flags).map(([flag, { short, value, about: text }]): [string, string] => [
    `${short ? `-${short}, ` : ''}--${flag}${value ? ` ${value}` : ''}`,
    text,
  ]);
  const sentence = `${about[0]!.toUpperCase()}${about.slice(1)}.`;
  return `Usage: ${usage}

${sentence}
${rows.length > 0 ? `\nFlags:\n${columns(rows)}` : ''}
Examples:
${examples.map((example) => `  ${example}\n`).join('')}`;
}
