import { expect, test } from 'vitest';
import { providerOf } from './provider-name.ts';

test.each([
  ['https://api.openai.com/v1', 'openai'],
  ['https://mine.openai.azure.com/openai', 'azure.ai.openai'],
  ['https://api.x.ai/v1', 'x_ai'],
  ['https://notx.ai/v1', 'openai-compatible'],
  ['http://127.0.0.1:11434/v1', 'openai-compatible'],
])('the provider of %s is %s', (url, provider) => expect(providerOf(url)).toBe(provider));
