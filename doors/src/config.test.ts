import { isFabricError } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { DOOR_NAMES, doorOfPath, readDoorNames, readDoorSettings } from './config.ts';

test.each([
  [undefined, DOOR_NAMES],
  ['', DOOR_NAMES],
  ['none', []],
  [' HTTP ', ['http']],
])('FAME_DOORS=%s', (FAME_DOORS, names) => {
  expect(readDoorNames({ FAME_DOORS })).toEqual(names);
});

test.each([
  ['htp', /Did you mean http\?/],
  ['http,none', /FAME_DOORS is "none"/],
])('FAME_DOORS=%s is a fault', (FAME_DOORS, message) => {
  try {
    readDoorNames({ FAME_DOORS });
    expect.unreachable();
  } catch (error) {
    expect(isFabricError(error, 'CONFIG_INVALID')).toBe(true);
    expect((error as Error).message).toMatch(message);
  }
});

test.each([
  ['/mcp', 'mcp'],
  ['/agents', 'http'],
  ['/agents/', 'http'],
  ['/agents/chat@fame.fabric', 'http'],
  ['/agentsx', undefined],
  ['/', undefined],
  ['/healthz', undefined],
  ['/fame/v1/nodes', undefined],
  ['/console', 'console'],
  ['/console/assets/index.js', 'console'],
  ['/consoles', undefined],
])('the door of %s is %s', (path, name) => {
  expect(doorOfPath(path, DOOR_NAMES)).toBe(name);
  expect(doorOfPath(path, [])).toBeUndefined();
});

test('reads the chat agent and the public URL', () => {
  expect(readDoorSettings({})).toEqual({
    names: DOOR_NAMES,
    chatAddress: 'chat@fame.fabric',
    publicUrl: undefined,
  });
  const env = { FAME_CHAT_ADDRESS: 'a@fame.fabric', FAME_PUBLIC_URL: 'https://fame.example.org/' };
  expect(readDoorSettings(env)).toMatchObject({
    chatAddress: 'a@fame.fabric',
    publicUrl: 'https://fame.example.org',
  });
  for (const faulty of [{ FAME_CHAT_ADDRESS: 'chat' }, { FAME_PUBLIC_URL: 'fame.example.org' }])
    expect(() => readDoorSettings(faulty)).toThrow(/FAME_/);
});
