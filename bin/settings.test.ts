import { expect, test } from 'vitest';
import { checkSettings } from './settings.ts';

const faults = (env: Record<string, string>): readonly string[] => {
  try {
    checkSettings(env);
    return [];
  } catch (error) {
    return (error as { details: { faults: string[] } }).details.faults;
  }
};

test('settings of the sentinel and of the agent are told together, each variable once', () => {
  const told = faults({
    FAME_RESUME_WINDOW_MS: 'soon',
    FAME_LOG_LEVEL: 'loud',
    OPENAI_BASE_URL: 'not a url',
    FAME_AGENTS: 'chat nobody',
  });
  expect(told.map((line) => line.split(' ')[0]).sort()).toEqual([
    'FAME_AGENTS',
    'FAME_LOG_LEVEL',
    'FAME_RESUME_WINDOW_MS',
    'OPENAI_BASE_URL',
  ]);
});

test('a port that the sentinel may choose is no fault', () => {
  expect(faults({ FAME_LISTENER_PORT: '0', FAME_LISTENER_HOST: '::1' })).toEqual([]);
  expect(() => checkSettings({ FAME_LISTENER_PORT: 'x' })).toThrow(
    'The configuration has a fault:\n  FAME_LISTENER_PORT',
  );
});
