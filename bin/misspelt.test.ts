import { SENTINEL_VARIABLES } from '@fame-fabric/sentinel/internal';
import { NAYLENCE_VARIABLES } from '@fame-fabric/shared/internal';
import { expect, test } from 'vitest';
import { misspeltVariables } from './misspelt.ts';
import { ALL_VARIABLES } from './settings.ts';

test('a misspelt variable is found, and one of another program is not', () => {
  const env = { FAME_PEER_URL: 'ws://x', FAME_SECURITY_PROFILE: 'open', PATH: '/bin' };
  expect(misspeltVariables(env, ALL_VARIABLES)).toEqual([{ name: 'FAME_PEER_URL', meant: 'FAME_PEER_URLS' }]);
});

test('a sentinel, which knows its own variables only, finds no fault in those of agents and commands', () => {
  const env = Object.fromEntries(ALL_VARIABLES.map(({ name }) => [name, 'x']));
  expect(misspeltVariables(env, SENTINEL_VARIABLES)).toEqual([]);
});

test('I2: no variable of naylence is reported as misspelt', () => {
  const env = Object.fromEntries(NAYLENCE_VARIABLES.map(({ name }) => [name, 'x']));
  expect(misspeltVariables(env, ALL_VARIABLES)).toEqual([]);
});
