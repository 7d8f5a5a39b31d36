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

test('faults of the sentinel and of the agent are reported together, each variable once', () => {
  const reported = faults({
    FAME_RESUME_WINDOW_MS: 'soon',
    FAME_LOG_LEVEL: 'loud',
    OPENAI_BASE_URL: 'not a url',
    FAME_AGENTS: 'chat missing',
  });
  expect(reported.map((line) => line.split(' ')[0]).sort()).toEqual([
    'FAME_AGENTS',
    'FAME_LOG_LEVEL',
    'FAME_RESUME_WINDOW_MS',
    'OPENAI_BASE_URL',
  ]);
});

test('port 0, which lets the sentinel choose, is valid', () => {
  expect(faults({ FAME_LISTENER_PORT: '0', FAME_LISTENER_HOST: '::1' })).toEqual([]);
  expect(() => checkSettings({ FAME_LISTENER_PORT: 'x' })).toThrow(
    'The configuration has a fault:\n  FAME_LISTENER_PORT',
  );
});
