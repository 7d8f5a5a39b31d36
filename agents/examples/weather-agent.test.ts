// The agent example of the README: it runs as printed, and stays short.
import { readFileSync } from 'node:fs';
import { Link } from '@fame-fabric/shared';
import { ScriptedSentinel } from '@fame-fabric/shared/testing';
import { expect, it } from 'vitest';
import { weatherAgent } from './weather-agent.ts';

it('answers with the forecast', async () => {
  const link = new Link({ url: 'memory://s', dial: new ScriptedSentinel().dial });
  await link.connect();
  const serving = await weatherAgent.serve(link);
  const days: unknown[] = [];
  for await (const day of link.stream('weather@fame.fabric', 'forecast', { city: 'Lima', days: 2 }))
    days.push(day);
  expect(days).toEqual([
    { day: 1, city: 'Lima', sky: 'sun' },
    { day: 2, city: 'Lima', sky: 'rain' },
  ]);
  await expect(link.call('weather@fame.fabric', 'forecast', { days: 2 })).rejects.toMatchObject({
    code: 'PARAMS_INVALID',
    message: expect.stringContaining('city'),
  });
  await serving.close();
  await link.close();
});

it('has no more than 20 lines', () => {
  const source = readFileSync(new URL('./weather-agent.ts', import.meta.url), 'utf8');
  expect(source.trim().split('\n').length).toBeLessThanOrEqual(20);
});
