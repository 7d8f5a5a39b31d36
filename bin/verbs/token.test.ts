import { expect, test } from 'vitest';
import { run } from './token.ts';

test('token issue refuses a role that does not exist, since a token with it would have no rights', async () => {
  const flags = { sub: 'ada', role: 'clent' };
  await expect(run({ positionals: ['issue'], flags, env: {} })).rejects.toThrow(
    /--role.*did you mean client\?/,
  );
});
