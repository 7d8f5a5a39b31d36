import { expect, test } from 'vitest';
import { HELP, MODELS, readOptions, TEMPLATES, UsageError } from './options.ts';

test('without arguments, no value is set', () => {
  expect(readOptions([])).toEqual({
    folder: undefined,
    template: undefined,
    model: undefined,
    asksNothing: false,
    installs: true,
    wants: 'project',
  });
});

test('all options', () => {
  expect(readOptions(['app', '-t', 'team', '--model', 'ollama', '--yes', '--no-install'])).toMatchObject({
    folder: 'app',
    template: 'team',
    model: 'ollama',
    asksNothing: true,
    installs: false,
  });
  expect(readOptions(['-h']).wants).toBe('help');
  expect(readOptions(['-v']).wants).toBe('version');
});

test.each([
  [['a', 'b'], 'Expected one folder; remove "b".'],
  [['--template', 'chta'], '--template is one of chat, team, web, not "chta".'],
  [['--model', 'constructor'], '--model is one of offline, openai, ollama, not "constructor".'],
  [['--modle', 'x'], "Unknown option '--modle'. Run with --help for the options."],
  [['--model'], "Option '-m, --model <value>' argument missing. Run with --help"],
])('refuses %j', (args, message) => {
  expect(() => readOptions(args)).toThrow(UsageError);
  expect(() => readOptions(args)).toThrow(message);
});

test('the help names every template and model', () => {
  for (const name of [...Object.keys(TEMPLATES), ...Object.keys(MODELS)])
    expect(HELP).toContain(`    ${name} `);
});
